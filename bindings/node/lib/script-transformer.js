/**
 * The half of `RTCRtpScriptTransform` that is in the worker: `RTCRtpScriptTransformer` and `RTCTransformEvent`
 * (W3C webrtc-encoded-transform §4.3, §4.4). `import 'twocan/globals'` in a worker lets them come.
 */

import { parentPort } from 'node:worker_threads';
import { Slots, handlerAttributes, illegal, inside, required, shape, string } from './webidl.js';
import { frames, newFrame } from './encoded-frames.js';
import { newReadable } from './encoded-streams.js';
import { invalidState } from './errors.js';
import { greeting } from './script-transform.js';

const transformers = new Slots('RTCRtpScriptTransformer');

export class RTCRtpScriptTransformer extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    transformers.set(this, arguments[1]);
  }
  get readable() {
    return transformers.of(this).readable;
  }
  get writable() {
    return transformers.of(this).writable;
  }
  get options() {
    return transformers.of(this).options;
  }
  async generateKeyFrame() {
    const own = transformers.of(this);
    if (own.side !== 'sender' || own.kind !== 'video') throw invalidState('not the transform of a sender of video');
    const rid = arguments[0] === undefined ? undefined : string(arguments[0]);
    if (rid !== undefined) {
      if (!/^[A-Za-z0-9]{1,16}$/.test(rid)) throw new DOMException(`'${rid}' is no rid`, 'NotAllowedError');
      if (!own.rids.includes(rid)) throw new DOMException(`no encoding is called ${rid}`, 'NotFoundError');
    }
    return generate(own, rid);
  }
  async sendKeyFrameRequest() {
    const own = transformers.of(this);
    if (own.side !== 'receiver' || own.kind !== 'video') throw invalidState('not the transform of a receiver of video');
    own.port.postMessage({ type: 'key-frame-request' });
  }
}
shape(RTCRtpScriptTransformer, 'RTCRtpScriptTransformer');
handlerAttributes(RTCRtpScriptTransformer, transformers, ['keyframerequest']);

/** The next key frame of an encoding settles it, once the encoder was told. */
function generate(own, rid) {
  return new Promise((resolve) => {
    own.wanted.push({ rid, resolve });
    own.port.postMessage({ type: 'generate-key-frame', rid });
  });
}

const requests = new Slots('KeyFrameRequestEvent');

export class KeyFrameRequestEvent extends Event {
  constructor(type, rid) {
    required(1, arguments.length, 'KeyFrameRequestEvent');
    const own = { rid: rid === undefined ? null : string(rid) };
    super(string(type), arguments[2] === inside ? { cancelable: true } : undefined);
    requests.set(this, own);
  }
  get rid() {
    return requests.of(this).rid;
  }
}
shape(KeyFrameRequestEvent, 'KeyFrameRequestEvent');
Object.defineProperty(KeyFrameRequestEvent, 'length', { value: 1, configurable: true });

/** The other side wants a key frame: the encoder is told, unless a listener prevents it (§4.5). */
function onKeyFrameRequest(transformer, own, rid) {
  const event = new KeyFrameRequestEvent('keyframerequest', rid, inside);
  if (transformer.dispatchEvent(event)) own.port.postMessage({ type: 'generate-key-frame', rid });
}

const events = new Slots('RTCTransformEvent');

export class RTCTransformEvent extends Event {
  constructor() {
    illegal(arguments[0]);
    super('rtctransform');
    events.set(this, { transformer: arguments[1] });
  }
  get transformer() {
    return events.of(this).transformer;
  }
}
shape(RTCTransformEvent, 'RTCTransformEvent');

function newTransformer({ port, options }) {
  const own = { port, options, side: null, kind: null, rids: [], wanted: [] };
  const { readable, put, close } = newReadable();
  own.readable = readable;
  own.writable = new WritableStream({
    write(frame) {
      if (!frames.has(frame)) throw new TypeError('not an encoded frame');
      const { origin, data } = frames.of(frame);
      // A copy, or one that went out before, came from no stream of this transform.
      if (origin === null || origin.port !== port) return;
      frames.of(frame).origin = null;
      port.postMessage({ type: 'frame', origin: origin.number, data }, [data]);
    },
  });
  const transformer = new RTCRtpScriptTransformer(inside, own);
  port.onmessage = ({ data: message }) => {
    if (message.type === 'attach') {
      Object.assign(own, { side: message.side, kind: message.kind, rids: message.rids });
      return;
    }
    if (message.type === 'key-frame-wanted') {
      onKeyFrameRequest(transformer, own, message.rid);
      return;
    }
    const { frame, origin } = message;
    port.postMessage({ type: 'seen' });
    if (!put(newFrame(frame, { port, number: origin }))) return;
    if (frame.type === 'key') {
      const served = own.wanted.filter(({ rid }) => rid === undefined || rid === frame.rid);
      own.wanted = own.wanted.filter((each) => !served.includes(each));
      for (const { resolve } of served) resolve(frame.metadata.rtpTimestamp);
    }
  };
  port.on('close', close);
  return transformer;
}

/** Where an object has its attribute from. */
function accessor(object, name) {
  const own = Object.getOwnPropertyDescriptor(object, name);
  return own ?? accessor(Object.getPrototypeOf(object), name);
}

let handler = null;

/**
 * Lets transforms of the thread that made this worker come as `rtctransform` events. A worker that waits for
 * them lives until it is terminated, as one does that waits for messages; any other ends as it would.
 */
export function listen() {
  if (parentPort === null) return;
  parentPort.on('message', (message) => {
    const stated = message?.[greeting];
    if (stated === undefined) return;
    const event = new RTCTransformEvent(inside, newTransformer(stated));
    if (typeof handler === 'function') handler.call(globalThis, event);
    if (typeof globalThis.dispatchEvent === 'function') globalThis.dispatchEvent(event);
  });
  parentPort.unref();
  // Node counts listeners itself, and would take the one above for the worker's own.
  for (const name of ['on', 'addListener', 'once', 'addEventListener']) {
    const method = parentPort[name];
    parentPort[name] = function add(type, ...rest) {
      if (type === 'message') parentPort.ref();
      return method.call(this, type, ...rest);
    };
  }
  const ownHandler = accessor(parentPort, 'onmessage');
  Object.defineProperty(parentPort, 'onmessage', {
    configurable: true,
    enumerable: true,
    get() {
      return ownHandler.get.call(this);
    },
    set(value) {
      ownHandler.set.call(this, value);
      if (typeof value === 'function') parentPort.ref();
    },
  });
  Object.defineProperty(globalThis, 'onrtctransform', {
    configurable: true,
    enumerable: true,
    get: () => handler,
    set(value) {
      handler = typeof value === 'function' || (typeof value === 'object' && value !== null) ? value : null;
      if (handler !== null) parentPort.ref();
    },
  });
}
