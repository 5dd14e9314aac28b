/** `RTCSctpTransport` (W3C webrtc-pc §6.1). */

import { Slots, handlerAttributes, illegal, shape } from './webidl.js';
import { fire } from './events.js';

export const sctpTransports = new Slots('RTCSctpTransport');

export class RTCSctpTransport extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    const { native, dtls } = arguments[1];
    sctpTransports.set(this, { native, dtls, state: 'connecting' });
  }
  get transport() {
    return sctpTransports.of(this).dtls;
  }
  get state() {
    return sctpTransports.of(this).state;
  }
  get maxMessageSize() {
    return sctpTransports.of(this).native.sctp()?.maxMessageSize ?? Infinity;
  }
  get maxChannels() {
    const own = sctpTransports.of(this);
    return own.state === 'connecting' ? null : (own.native.sctp()?.maxChannels ?? null);
  }
}
shape(RTCSctpTransport, 'RTCSctpTransport');
handlerAttributes(RTCSctpTransport, sctpTransports, ['statechange']);

export function setSctpState(transport, state, quiet = false) {
  const own = sctpTransports.of(transport);
  if (own.state === state || own.state === 'closed') return;
  own.state = state;
  if (!quiet) fire(transport, 'statechange');
}
