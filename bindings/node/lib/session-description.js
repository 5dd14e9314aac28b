/** `RTCSessionDescription` (W3C webrtc-pc §4.6.2). */

import { Slots, dictionary, enumeration, required, shape, string } from './webidl.js';

const toType = enumeration('RTCSdpType', ['offer', 'pranswer', 'answer', 'rollback']);
const toInit = dictionary('RTCSessionDescriptionInit', {
  sdp: { as: string, or: '' },
  type: { as: toType, need: true },
});

/** The argument of `setRemoteDescription`. */
export const toDescription = toInit;

/** The argument of `setLocalDescription`, which may say nothing. */
export const toLocalDescription = dictionary('RTCLocalSessionDescriptionInit', {
  sdp: { as: string, or: '' },
  type: { as: toType },
});

const slots = new Slots('RTCSessionDescription');

export class RTCSessionDescription {
  constructor(descriptionInitDict) {
    required(1, arguments.length, 'RTCSessionDescription');
    slots.set(this, toInit(descriptionInitDict));
  }
  get type() {
    return slots.of(this).type;
  }
  get sdp() {
    return slots.of(this).sdp;
  }
  toJSON() {
    const { type, sdp } = slots.of(this);
    return { type, sdp };
  }
}
shape(RTCSessionDescription, 'RTCSessionDescription');
