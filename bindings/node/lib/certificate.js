/** `RTCCertificate` and `generateCertificate` (W3C webrtc-pc §4.9). */

import { X509Certificate } from 'node:crypto';

import { Slots, illegal, inside, shape, string, unsignedLongLongEnforced } from './webidl.js';
import { NativeCertificate } from './native.js';

const slots = new Slots('RTCCertificate');

export class RTCCertificate {
  constructor() {
    illegal(arguments[0]);
    slots.set(this, { native: arguments[1].native });
  }
  get expires() {
    // The certificate states whole seconds.
    return Math.floor(slots.of(this).native.expires / 1000) * 1000;
  }
  getFingerprints() {
    const [algorithm, value] = slots.of(this).native.fingerprint();
    return [{ algorithm, value }];
  }
}
shape(RTCCertificate, 'RTCCertificate');

export const isCertificate = (value) => slots.has(value);
export const nativeCertificate = (value) => slots.of(value).native;

/** The certificate in DER. */
export const derOf = (value) => slots.of(value).native.der();

/** What a certificate is serialized as, with its key (§4.9). */
export function serializeCertificate(value) {
  const { native } = slots.of(value);
  return { der: new Uint8Array(native.der()), key: new Uint8Array(native.privateKey()), expires: native.expires };
}

export function restoreCertificate({ der, key, expires }) {
  return new RTCCertificate(inside, { native: NativeCertificate.restore(Buffer.from(der), Buffer.from(key), expires) });
}

/** Whether two objects are the same certificate, as the one that was cloned is. */
export const isSameCertificate = (one, other) => derOf(one).equals(derOf(other));

/** The other side's certificate, of which there is no key. */
export function remoteCertificate(der) {
  const { validTo, fingerprint256 } = new X509Certificate(der);
  const native = {
    expires: Date.parse(validTo), der: () => der, fingerprint: () => ['sha-256', fingerprint256.toLowerCase()],
  };
  return new RTCCertificate(inside, { native });
}

const unsupported = (reason) => new DOMException(reason, 'NotSupportedError');

/** Whether the algorithm is one that we have: ECDSA on P-256 (WebCrypto §18.4.4 reads its name). */
function check(algorithm) {
  if (typeof algorithm === 'object' && algorithm !== null) {
    if (algorithm.name === undefined) throw new TypeError('the algorithm has no name');
    const name = string(algorithm.name).toUpperCase();
    if (name === 'ECDSA') {
      if (algorithm.namedCurve === undefined) throw new TypeError('ECDSA needs a namedCurve');
      if (string(algorithm.namedCurve) === 'P-256') return;
      throw unsupported('only the curve P-256');
    }
    if (name === 'RSASSA-PKCS1-V1_5') {
      for (const member of ['hash', 'modulusLength', 'publicExponent']) {
        if (algorithm[member] === undefined) throw new TypeError(`${name} needs a ${member}`);
      }
    }
    throw unsupported(`no certificates with ${name}; ECDSA on P-256`);
  }
  throw unsupported(`${string(algorithm)} alone names no algorithm for certificates`);
}

export async function generateCertificate(algorithm) {
  check(algorithm);
  let valid;
  if (typeof algorithm === 'object' && algorithm.expires !== undefined) {
    valid = unsignedLongLongEnforced(algorithm.expires);
  }
  return new RTCCertificate(inside, { native: NativeCertificate.generate(valid) });
}
