/** What frames of a sender or a receiver go through: a script in a worker, or encryption (webrtc-encoded-transform §2). */

import { nullable } from './webidl.js';
import { invalidState } from './errors.js';
import * as script from './script-transform.js';
import { decryptors, encryptors, pass } from './sframe.js';

const toTransform = (slots) => nullable((value) => {
  if (!slots.has(value) && !script.transforms.has(value)) throw new TypeError(`neither an RTCRtpScriptTransform nor an ${slots.name}`);
  return value;
});
export const toSenderTransform = toTransform(encryptors);
export const toReceiverTransform = toTransform(decryptors);

/** The state of a transform that encrypts or decrypts. */
function cipherOf(transform) {
  if (encryptors.has(transform)) return encryptors.of(transform);
  return decryptors.has(transform) ? decryptors.of(transform) : null;
}

const isScript = (transform) => transform !== null && cipherOf(transform) === null;

/** Makes a transform that of a sender or a receiver, in the place of the one before. */
export function attach(before, transform, owner) {
  if (before === transform) return;
  const own = transform === null ? null : cipherOf(transform);
  if (own !== null && own.attached !== null) throw invalidState('the transform is in use already');
  script.attach(isScript(before) ? before : null, isScript(transform) ? transform : null, owner);
  const old = before === null ? null : cipherOf(before);
  if (old !== null) old.attached = null;
  if (own !== null) own.attached = owner;
}

export function offer(transform, frame, context) {
  const own = cipherOf(transform);
  if (own === null) script.offer(transform, frame, context);
  else pass(own, frame, context);
}

/** The other side wants a key frame: a script may refuse it. */
export function askForKeyFrame(transform, rid) {
  const own = cipherOf(transform);
  if (own === null) script.askForKeyFrame(transform, rid);
  else own.attached?.generateKeyFrame(rid);
}

/** The sender or the receiver has come to its end. */
export function end(transform) {
  if (transform === null) return;
  const own = cipherOf(transform);
  if (own === null) script.end(transform);
  else own.attached = null;
}
