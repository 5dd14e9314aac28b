/**
 * `RTCRtpScriptTransform` (W3C webrtc-encoded-transform §4): frames of a sender or a receiver go through a
 * worker. Each has a port to it, over which frames travel there and back.
 */

import { Slots, required, sequence, shape } from './webidl.js';
import { FRAMES_MAX } from './encoded-streams.js';
import { invalidState } from './errors.js';

export const transforms = new Slots('RTCRtpScriptTransform');

/** What the message to a worker is known by. */
export const greeting = 'twocan:rtctransform';

const toTransfer = sequence((value) => {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) throw new TypeError('not an object');
  return value;
});

/** The worker, itself or as a member of parameters. */
function toWorker(given) {
  if (typeof given !== 'object' || given === null) throw new TypeError('not a worker');
  if (typeof given.postMessage === 'function') return given;
  if (typeof given.worker?.postMessage === 'function') return given.worker;
  throw new TypeError('not a worker');
}

export class RTCRtpScriptTransform {
  constructor(workerOrWorkerAndParameters, options = undefined, transfer = undefined) {
    required(1, arguments.length, 'RTCRtpScriptTransform');
    const worker = toWorker(workerOrWorkerAndParameters);
    const moved = transfer === undefined ? [] : toTransfer(transfer);
    const { port1: port, port2 } = new MessageChannel();
    worker.postMessage({ [greeting]: { port: port2, options } }, [port2, ...moved]);
    const own = transforms.set(this, { port, attached: null, waiting: new Map(), next: 0, unseen: 0 });
    port.onmessage = ({ data }) => onAnswer(own, data);
    port.unref?.();
  }
}
shape(RTCRtpScriptTransform, 'RTCRtpScriptTransform');
Object.defineProperty(RTCRtpScriptTransform, 'length', { value: 1, configurable: true });

/** A worker handed a frame back, or wants something. */
function onAnswer(own, { type, origin, data, rid }) {
  const { attached } = own;
  if (type === 'seen') {
    own.unseen -= 1;
    return;
  }
  if (type === 'key-frame-request') {
    attached?.requestKeyFrame?.();
    return;
  }
  if (type === 'generate-key-frame') {
    attached?.generateKeyFrame?.(rid);
    return;
  }
  const waiting = own.waiting.get(origin);
  if (waiting === undefined) return;
  // What was handed to the worker before and did not come back is left out: order is kept.
  for (const key of own.waiting.keys()) {
    own.waiting.delete(key);
    if (key === origin) break;
  }
  if (attached !== null) attached.forward(waiting, data);
}

/**
 * Makes a transform that of a sender or a receiver, in the place of the one before: `owner` says how frames
 * go on, and what they are.
 */
export function attach(before, transform, owner) {
  if (transform === before) return;
  const own = transform === null ? null : transforms.of(transform);
  if (own !== null && own.attached !== null) throw invalidState('the transform is in use already');
  if (before !== null) {
    const old = transforms.of(before);
    old.attached = null;
    old.waiting.clear();
  }
  if (own === null) return;
  own.attached = owner;
  own.port.postMessage({ type: 'attach', side: owner.side, kind: owner.kind, rids: owner.rids?.() ?? [] });
}

/** The other side wants a key frame: the worker may refuse it. */
export function askForKeyFrame(transform, rid) {
  transforms.of(transform).port.postMessage({ type: 'key-frame-wanted', rid });
}

/** Hands a frame to the worker; `context` comes back to `forward`. */
export function offer(transform, frame, context) {
  const own = transforms.of(transform);
  // Further frames than these are left out before the worker looks at them; of those that it took and has not
  // handed back the oldest is taken to be dropped.
  if (own.unseen >= FRAMES_MAX) return;
  own.unseen += 1;
  // A worker drops a frame by not handing it back.
  if (own.waiting.size >= FRAMES_MAX) own.waiting.delete(own.waiting.keys().next().value);
  const origin = own.next;
  own.next += 1;
  own.waiting.set(origin, context);
  const data = new Uint8Array(frame.data).buffer;
  own.port.postMessage({ type: 'frame', origin, frame: { ...frame, data } }, [data]);
}

/** The sender or the receiver has come to its end, and the worker's half with it. */
export function end(transform) {
  if (transform === null) return;
  const own = transforms.of(transform);
  own.attached = null;
  own.waiting.clear();
  own.port.close();
}
