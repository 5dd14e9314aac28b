/** `RTCDtlsTransport` (W3C webrtc-pc §5.5). */

import { Slots, handlerAttributes, illegal, shape } from './webidl.js';
import { derOf, remoteCertificate } from './certificate.js';
import { fire } from './events.js';

export const dtlsTransports = new Slots('RTCDtlsTransport');

export class RTCDtlsTransport extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    const { ice, native } = arguments[1];
    dtlsTransports.set(this, { ice, native, state: 'new', remote: null });
  }
  get iceTransport() {
    return dtlsTransports.of(this).ice;
  }
  get state() {
    return dtlsTransports.of(this).state;
  }
  getRemoteCertificates() {
    const { remote } = refreshed(this);
    if (remote === null) return [];
    const der = derOf(remote);
    return [der.buffer.slice(der.byteOffset, der.byteOffset + der.byteLength)];
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

/** The certificate of the other side, once there is one. */
function refreshed(transport) {
  const own = dtlsTransports.of(transport);
  // It is another one when another peer has taken the place of the one before.
  const der = own.native.remoteCertificate() ?? null;
  if (der !== null && (own.remote === null || !derOf(own.remote).equals(der))) own.remote = remoteCertificate(der);
  return own;
}

/** What the other side presented, as certificates. */
export function remoteCertificates(transport) {
  const { remote } = refreshed(transport);
  return remote === null ? [] : [remote];
}
