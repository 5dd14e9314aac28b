/** `RTCDTMFSender` (W3C webrtc-pc §7): tones as events of RFC 4733 in the stream of the sender. */

import { Slots, handlerAttributes, illegal, required, shape, string, unsignedLong } from './webidl.js';
import { invalidState } from './errors.js';
import { RTCDTMFToneChangeEvent } from './events.js';

const slots = new Slots('RTCDTMFSender');

export class RTCDTMFSender extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    slots.set(this, { ...arguments[1], tones: '', duration: 100, gap: 70, timer: null });
  }
  get canInsertDTMF() {
    return slots.of(this).canInsert();
  }
  get toneBuffer() {
    return slots.of(this).tones;
  }
  insertDTMF(tones, duration = 100, interToneGap = 70) {
    const own = slots.of(this);
    required(1, arguments.length, 'insertDTMF');
    const wanted = string(tones).toUpperCase();
    const [long, gap] = [unsignedLong(duration), unsignedLong(interToneGap)];
    if (!own.canInsert()) throw invalidState('tones cannot be sent: no negotiated sender of sound');
    if (/[^0-9A-D#*,]/.test(wanted)) throw new DOMException('not a tone', 'InvalidCharacterError');
    own.tones = wanted;
    own.duration = Math.min(6000, Math.max(40, long));
    own.gap = Math.min(6000, Math.max(30, gap));
    if (own.timer === null && wanted !== '') own.timer = setTimeout(() => play(this, own), 0);
  }
}
shape(RTCDTMFSender, 'RTCDTMFSender');
Object.defineProperty(RTCDTMFSender.prototype.insertDTMF, 'length', { value: 1, configurable: true });
handlerAttributes(RTCDTMFSender, slots, ['tonechange']);

/** Pieces of a tone that is sent: one packet for each, and the end three times (RFC 4733 §2.5.1.4). */
const PIECE_MS = 50;
const ENDS = 3;

/** The number of a tone (RFC 4733 §3.2), and its loudness in -dBm0. */
const numbers = '0123456789*#ABCD';
const VOLUME = 10;

/** Sends a tone; it ends by itself. */
function sendTone(own, tone, duration) {
  const event = numbers.indexOf(tone);
  const started = performance.now();
  const ticks = (milliseconds) => Math.min(0xffff, Math.max(1, Math.round((milliseconds * own.clockRate()) / 1000)));
  const timestamp = own.timestamp(started, own.clockRate());
  const piece = (length, isEnd, isFirst) => {
    const payload = Buffer.from([event, (isEnd ? 0x80 : 0) | VOLUME, 0, 0]);
    payload.writeUInt16BE(ticks(length), 2);
    own.send(timestamp, isFirst, payload);
  };
  piece(PIECE_MS, false, true);
  const timer = setInterval(() => {
    const passed = performance.now() - started;
    if (own.canInsert() && passed < duration) {
      piece(passed, false, false);
      return;
    }
    clearInterval(timer);
    for (let count = 0; count < ENDS && own.canInsert(); count += 1) piece(duration, true, false);
  }, PIECE_MS);
  timer.unref();
}

/** The playout task (§7.3). */
function play(sender, own) {
  own.timer = null;
  if (!own.canInsert()) return;
  const tone = own.tones.slice(0, 1);
  own.tones = own.tones.slice(1);
  if (tone !== '') {
    const wait = tone === ',' ? 2000 : own.duration + own.gap;
    if (tone !== ',') sendTone(own, tone, own.duration);
    own.timer = setTimeout(() => play(sender, own), wait);
    own.timer.unref?.();
  }
  sender.dispatchEvent(new RTCDTMFToneChangeEvent('tonechange', { tone }));
}
