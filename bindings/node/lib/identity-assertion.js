/** `RTCIdentityAssertion` (W3C webrtc-identity §9). */

import { Slots, required, shape, string } from './webidl.js';

const slots = new Slots('RTCIdentityAssertion');

export class RTCIdentityAssertion {
  constructor(idp, name) {
    required(2, arguments.length, 'RTCIdentityAssertion');
    slots.set(this, { idp: string(idp), name: string(name) });
  }
  get idp() {
    return slots.of(this).idp;
  }
  set idp(value) {
    slots.of(this).idp = string(value);
  }
  get name() {
    return slots.of(this).name;
  }
  set name(value) {
    slots.of(this).name = string(value);
  }
}
shape(RTCIdentityAssertion, 'RTCIdentityAssertion');
