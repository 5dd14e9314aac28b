/** What a page of a browser has for a test of WebRTC: the globals, media, and two connections. */

import { test as declare } from 'node:test';

import { nonstandard } from '../../bindings/node/lib/index.js';
import '../../bindings/node/lib/globals.js';

// A machine without a network has no other addresses.
nonstandard.configure({ loopbackCandidates: true, receiveSimulcast: true });

/** A case, with a limit that only what hangs reaches. */
export function test(name, body) {
  declare(name, { timeout: 600_000 }, body);
}

/** Connections that are closed when the case ends. */
export function peers(t, count = 2, configuration = undefined) {
  const made = Array.from({ length: count }, () => new RTCPeerConnection(configuration));
  t.after(() => made.forEach((own) => own.close()));
  return made;
}

/** A live track with media. */
export async function media(t, kind) {
  const [track] = (await navigator.mediaDevices.getUserMedia({ [kind]: true })).getTracks();
  t.after(() => track.stop());
  return track;
}

/** A stream with live tracks of some kinds. */
export async function capture(t, ...kinds) {
  const stream = await navigator.mediaDevices.getUserMedia(Object.fromEntries(kinds.map((kind) => [kind, true])));
  t.after(() => stream.getTracks().forEach((track) => track.stop()));
  return stream;
}

export function trickle(a, b) {
  for (const [own, other] of [[a, b], [b, a]]) {
    own.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate !== null && other.signalingState !== 'closed') other.addIceCandidate(candidate).catch(() => {});
    });
  }
}

/** One offer of `a` and its answer. */
export async function negotiate(a, b) {
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(b.localDescription);
}

/** The next event of a type that is accepted. */
export function next(target, type, accept = () => true) {
  return new Promise((resolve) => {
    target.addEventListener(type, function listener(event) {
      if (!accept(event)) return;
      target.removeEventListener(type, listener);
      resolve(event);
    });
  });
}

/** Waits for a state of whatever has a `statechange`. */
export async function reaches(target, attribute, ...values) {
  const type = attribute === 'state' ? 'statechange' : `${attribute.toLowerCase()}change`;
  while (!values.includes(target[attribute])) await next(target, type);
}

/** Two connections that are connected, with a channel that both sides negotiated. */
export async function connected(t, prepare = () => {}) {
  const [a, b] = peers(t);
  const [ours, theirs] = [a, b].map((own) => own.createDataChannel('', { negotiated: true, id: 0 }));
  await prepare(a, b);
  trickle(a, b);
  const open = [ours, theirs].map((channel) => next(channel, 'open'));
  await negotiate(a, b);
  await Promise.all(open);
  return { a, b, ours, theirs };
}

/** The events of some types on a target, by name and in their order. */
export function log(target, ...types) {
  const seen = [];
  for (const type of types) target.addEventListener(type, () => seen.push(type));
  return seen;
}

/** What a promise comes to within some turns of the event loop: `'pending'` when it does not. */
export async function settled(promise, turns = 50) {
  let state = 'pending';
  promise.then(() => { state = 'fulfilled'; }, () => { state = 'rejected'; });
  for (let turn = 0; turn < turns && state === 'pending'; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
  return state;
}
