/** `RTCEncodedVideoFrame` and `RTCEncodedAudioFrame` (W3C webrtc-encoded-transform §5). */

import { types } from 'node:util';
import {
  Slots, dictionary, double, inside, octet, required, sequence, shape, string, unsignedLong, unsignedLongLongEnforced,
  unsignedShort,
} from './webidl.js';

export const frames = new Slots('RTCEncodedFrame');

const common = {
  captureTime: { as: double },
  contributingSources: { as: sequence(unsignedLong) },
  mimeType: { as: string },
  payloadType: { as: octet },
  receiveTime: { as: double },
  rtpTimestamp: { as: unsignedLong },
  senderCaptureTimeOffset: { as: double },
  synchronizationSource: { as: unsignedLong },
};
const toOptions = (name, members) => dictionary(`${name}Options`, {
  metadata: { as: dictionary(`${name}Metadata`, { ...common, ...members }) },
});
const toVideo = toOptions('RTCEncodedVideoFrame', {
  dependencies: { as: sequence(unsignedLongLongEnforced) },
  frameId: { as: unsignedLongLongEnforced },
  height: { as: unsignedShort },
  spatialIndex: { as: unsignedLong },
  temporalIndex: { as: unsignedLong },
  timestamp: { as: double },
  width: { as: unsignedShort },
});
const toAudio = toOptions('RTCEncodedAudioFrame', { audioLevel: { as: double }, sequenceNumber: { as: unsignedShort } });

/** The state of a frame that is a copy of another one. */
function copyOf(kind, original, given) {
  if (!frames.has(original) || frames.of(original).kind !== kind) throw new TypeError(`not an encoded frame of ${kind}`);
  const { data, metadata, type } = frames.of(original);
  if (isDetached(data)) throw new DOMException('the data of the frame was transferred', 'DataCloneError');
  return { kind, type, data: data.slice(0), metadata: structuredClone({ ...metadata, ...given.metadata }), origin: null };
}

/** An `ArrayBuffer` of any realm that keeps its size. */
const isBuffer = (value) => {
  if (!types.isArrayBuffer(value) || value.resizable) throw new TypeError('not an ArrayBuffer of a fixed size');
  return value;
};

/** Whether a buffer was transferred: no view can be made of it any more. */
export function isDetached(data) {
  try {
    return new Uint8Array(data).length < 0;
  } catch {
    return true;
  }
}

export class RTCEncodedVideoFrame {
  constructor(originalFrame, options = {}) {
    if (originalFrame === inside) {
      frames.set(this, arguments[1]);
      return;
    }
    required(1, arguments.length, 'RTCEncodedVideoFrame');
    frames.set(this, copyOf('video', originalFrame, toVideo(options)));
  }
  get type() {
    return of(this, 'video').type;
  }
  get data() {
    return of(this, 'video').data;
  }
  set data(value) {
    of(this, 'video').data = isBuffer(value);
  }
  getMetadata() {
    return structuredClone(of(this, 'video').metadata);
  }
}
shape(RTCEncodedVideoFrame, 'RTCEncodedVideoFrame');

export class RTCEncodedAudioFrame {
  constructor(originalFrame, options = {}) {
    if (originalFrame === inside) {
      frames.set(this, arguments[1]);
      return;
    }
    required(1, arguments.length, 'RTCEncodedAudioFrame');
    frames.set(this, copyOf('audio', originalFrame, toAudio(options)));
  }
  get data() {
    return of(this, 'audio').data;
  }
  set data(value) {
    of(this, 'audio').data = isBuffer(value);
  }
  getMetadata() {
    return structuredClone(of(this, 'audio').metadata);
  }
}
shape(RTCEncodedAudioFrame, 'RTCEncodedAudioFrame');

function of(frame, kind) {
  const own = frames.of(frame);
  if (own.kind !== kind) throw new TypeError(`Illegal invocation: not an encoded frame of ${kind}`);
  return own;
}

/** A frame on its way through a transform; `origin` is what it is known by there. */
export function newFrame({ kind, type, data, metadata }, origin) {
  const Interface = kind === 'video' ? RTCEncodedVideoFrame : RTCEncodedAudioFrame;
  return new Interface(inside, { kind, type, data, metadata, origin });
}
