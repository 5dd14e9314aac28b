/** `RTCDTMFSender` (W3C webrtc-pc §7). Tones are told with their events; none is sent, as no stream of
 * sound is made here. */

import { Slots, handlerAttributes, illegal, required, shape, string, unsignedLong } from './webidl.js';
import { invalidState } from './errors.js';
import { RTCDTMFToneChangeEvent } from './events.js';

const slots = new Slots('RTCDTMFSender');

export class RTCDTMFSender extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    slots.set(this, { canInsert: arguments[1], tones: '', duration: 100, gap: 70, timer: null });
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

/** The playout task (§7.3). */
function play(sender, own) {
  own.timer = null;
  if (!own.canInsert()) return;
  const tone = own.tones.slice(0, 1);
  own.tones = own.tones.slice(1);
  if (tone !== '') {
    const wait = tone === ',' ? 2000 : own.duration + own.gap;
    own.timer = setTimeout(() => play(sender, own), wait);
    own.timer.unref?.();
  }
  sender.dispatchEvent(new RTCDTMFToneChangeEvent('tonechange', { tone }));
}
