/** `RTCDtlsTransport` (W3C webrtc-pc §5.5). */

import { Slots, handlerAttributes, illegal, shape } from './webidl.js';
import { fire } from './events.js';

export const dtlsTransports = new Slots('RTCDtlsTransport');

export class RTCDtlsTransport extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    const { ice } = arguments[1];
    dtlsTransports.set(this, { ice, state: 'new', certificates: [] });
  }
  get iceTransport() {
    return dtlsTransports.of(this).ice;
  }
  get state() {
    return dtlsTransports.of(this).state;
  }
  getRemoteCertificates() {
    return [...dtlsTransports.of(this).certificates];
  }
}
shape(RTCDtlsTransport, 'RTCDtlsTransport');
handlerAttributes(RTCDtlsTransport, dtlsTransports, ['statechange', 'error']);

export function setDtlsState(transport, state, quiet = false) {
  const own = dtlsTransports.of(transport);
  if (own.state === state) return;
  own.state = state;
  if (!quiet) fire(transport, 'statechange');
}
