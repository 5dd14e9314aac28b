/**
 * What is counted of frames that the application, or a synthetic source, hands over and is handed
 * (webrtc-stats §8.4, §8.6): beside what the stack counts of packets.
 */

import { quantizer } from './picture-headers.js';

/** Longer than this without a picture is a pause (`pauseCount`). */
const PAUSE_SECONDS = 5;

/** A frame that is this many times larger than those before it on average is a huge one. */
const HUGE = 2.5;

/** Counts of one encoding that is sent. */
export class SentCounts {
  frames = 0;
  bytes = 0;
  huge = 0;
  encodeSeconds = 0;
  quantizers = 0;
  /** Whether all frames said how coarse they are. */
  isComplete = true;

  note(kind, { codec, data, encodeSeconds = 0 }) {
    if (kind !== 'video') return;
    if (this.frames > 0 && data.length > (HUGE * this.bytes) / this.frames) this.huge += 1;
    this.frames += 1;
    this.bytes += data.length;
    this.encodeSeconds += encodeSeconds;
    const found = quantizer(codec, data);
    this.isComplete &&= found !== undefined;
    this.quantizers += found ?? 0;
  }
}

/** Counts of what one receiver was handed. */
export class HandedCounts {
  frames = 0;
  last = null;
  interFrameDelay = 0;
  squaredInterFrameDelay = 0;
  pauses = 0;
  pausedSeconds = 0;
  waitedSeconds = 0;
  sinkSeconds = 0;
  quantizers = 0;
  isComplete = true;

  /** A picture is handed over, `waited` milliseconds after its last packet. */
  notePicture({ codec, data }) {
    const now = performance.now() / 1000;
    if (this.last !== null) {
      const delay = now - this.last;
      this.interFrameDelay += delay;
      this.squaredInterFrameDelay += delay * delay;
      if (delay >= PAUSE_SECONDS) {
        this.pauses += 1;
        this.pausedSeconds += delay;
      }
    }
    this.last = now;
    this.frames += 1;
    const found = quantizer(codec, data);
    this.isComplete &&= found !== undefined;
    this.quantizers += found ?? 0;
  }

  /** Hands a frame to the application: what it does there is decoding, as far as can be seen from here. */
  hand(sink, event) {
    const begin = performance.now();
    this.waitedSeconds += (event.waited ?? 0) / 1000;
    try {
      sink?.(event);
    } finally {
      this.sinkSeconds += (performance.now() - begin) / 1000;
    }
  }
}

/** Milliseconds of sound in one packet of a codec; `undefined` for those that do not say. */
export function soundOf(codec, data) {
  const name = codec.toUpperCase();
  if (name === 'PCMU' || name === 'PCMA') return data.length / 8;
  if (name !== 'OPUS' || data.length === 0) return undefined;
  // RFC 6716 §3.1: the configuration says how long a frame is, the lowest bits how many there are.
  const [toc] = data;
  const configuration = toc >> 3;
  const frame = configuration < 12 ? [10, 20, 40, 60][configuration & 3]
    : configuration < 16 ? [10, 20][configuration & 1] : [2.5, 5, 10, 20][configuration & 3];
  const count = [1, 2, 2, (data[1] ?? 0) & 0x3f][toc & 3];
  return frame * count;
}
