/** Two connections of ours that signal to each other, and what tests wait for. */

import { RTCPeerConnection, nonstandard } from '../lib/index.js';

// A machine without a network has no other addresses.
nonstandard.configure({ loopbackCandidates: true });

/** The next event of a type; refuses when the connection that it belongs to fails first. */
export function once(target, type, accept = () => true) {
  return new Promise((resolve) => {
    const listener = (event) => {
      if (!accept(event)) return;
      target.removeEventListener(type, listener);
      resolve(event);
    };
    target.addEventListener(type, listener);
  });
}

/** Two connections, closed when the test ends. */
export function pair(t, configurations = []) {
  const both = [new RTCPeerConnection(configurations[0]), new RTCPeerConnection(configurations[1])];
  t.after(() => both.forEach((own) => own.close()));
  return both;
}

export function trickle(a, b) {
  for (const [own, other] of [[a, b], [b, a]]) {
    own.addEventListener('icecandidate', ({ candidate }) => {
      if (other.signalingState !== 'closed') other.addIceCandidate(candidate).catch(() => {});
    });
  }
}

/** One round: an offer of `a`, and its answer. */
export async function negotiate(a, b) {
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
}

/** A channel that is open on both sides. */
export async function channels(t, init = {}, label = 'data') {
  const [a, b] = pair(t);
  trickle(a, b);
  const ours = a.createDataChannel(label, init);
  const opened = once(ours, 'open');
  const announced = once(b, 'datachannel');
  await negotiate(a, b);
  const { channel: theirs } = await announced;
  await opened;
  return { a, b, ours, theirs };
}

/** The names of the events of some types, in their order. */
export function record(target, types) {
  const seen = [];
  for (const type of types) target.addEventListener(type, () => seen.push(type));
  return seen;
}
