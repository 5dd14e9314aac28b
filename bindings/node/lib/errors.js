/** `RTCError` (W3C webrtc-pc §11), and errors of the stack as exceptions. */

import { Slots, dictionary, enumeration, nullable, shape, unsignedLong, required } from './webidl.js';

const details = [
  'data-channel-failure', 'dtls-failure', 'fingerprint-failure', 'sctp-failure', 'sdp-syntax-error',
  'hardware-encoder-not-available', 'hardware-encoder-error',
  // webrtc-identity §9
  'idp-bad-script-failure', 'idp-execution-failure', 'idp-load-failure', 'idp-need-login', 'idp-timeout', 'idp-tls-failure',
  'idp-token-expired', 'idp-token-invalid',
];
const long = (value) => unsignedLong(value) | 0;
const toInit = dictionary('RTCErrorInit', {
  errorDetail: { as: enumeration('RTCErrorDetailType', details), need: true },
  httpRequestStatusCode: { as: long },
  receivedAlert: { as: unsignedLong },
  sctpCauseCode: { as: long },
  sdpLineNumber: { as: long },
  sentAlert: { as: unsignedLong },
});

const slots = new Slots('RTCError');

export class RTCError extends DOMException {
  constructor(init, message = '') {
    required(1, arguments.length, 'RTCError');
    const own = toInit(init);
    super(message, 'OperationError');
    slots.set(this, own);
  }
  get errorDetail() {
    return slots.of(this).errorDetail;
  }
  get sdpLineNumber() {
    return slots.of(this).sdpLineNumber ?? null;
  }
  get sctpCauseCode() {
    return slots.of(this).sctpCauseCode ?? null;
  }
  get receivedAlert() {
    return slots.of(this).receivedAlert ?? null;
  }
  get sentAlert() {
    return slots.of(this).sentAlert ?? null;
  }
  get httpRequestStatusCode() {
    return slots.of(this).httpRequestStatusCode ?? null;
  }
}
shape(RTCError, 'RTCError');

export const isError = nullable((value) => {
  if (!(value instanceof RTCError)) throw new TypeError('not an RTCError');
  return value;
});

/** The exception for an error of the stack, whose text is `Name|line|reason`. */
export function exception(error) {
  const parts = /^([A-Za-z]+)\|(\d*)\|([^]*)$/.exec(error?.message ?? '');
  if (parts === null) return error;
  const [, name, line, reason] = parts;
  if (name === 'TypeError') return new TypeError(reason);
  if (name === 'RangeError') return new RangeError(reason);
  if (name === 'RTCError') {
    return new RTCError({ errorDetail: 'sdp-syntax-error', sdpLineNumber: Number(line) }, reason);
  }
  return new DOMException(reason, name);
}

/** Calls the stack, and throws its errors as the exceptions that the W3C names. */
export function native(call) {
  try {
    return call();
  } catch (error) {
    throw exception(error);
  }
}

export const invalidState = (reason) => new DOMException(reason, 'InvalidStateError');
