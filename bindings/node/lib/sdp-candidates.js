/** The candidates that a description lists. */

import { RTCIceCandidate } from './ice-candidate.js';

/** The candidates that events told of: no description shows one before (W3C webrtc-pc §4.4.1.3). */
export class Announced {
  #all = new Set();
  /** A candidate as its line has it, empty for the end of them, of the credentials with that fragment. */
  add(text, fragment) {
    this.#all.add(`${fragment} ${text}`);
  }
  has(text, fragment) {
    return this.#all.has(`${fragment} ${text}`);
  }
  /** A description of ours with no others. */
  filter(sdp) {
    let fragment = null;
    const lines = sdp.split('\r\n').filter((line) => {
      if (line.startsWith('a=ice-ufrag:')) fragment = line.slice(12);
      if (line === 'a=end-of-candidates') return this.#all.has(`${fragment} `);
      return !line.startsWith('a=candidate:') || this.#all.has(`${fragment} ${line.slice(2)}`);
    });
    return lines.join('\r\n');
  }
}

export function toDescriptionCandidates(sdp) {
  const all = [];
  let index = -1;
  let mid = null;
  let fragment = null;
  for (const line of sdp.split(/\r\n|\n/)) {
    if (line.startsWith('m=')) {
      index += 1;
      mid = null;
    } else if (line.startsWith('a=mid:')) {
      mid = line.slice(6);
      for (const own of all) if (own.sdpMLineIndex === index) own.sdpMid = mid;
    } else if (line.startsWith('a=ice-ufrag:')) {
      fragment = line.slice(12);
    } else if (line.startsWith('a=candidate:')) {
      all.push({ candidate: line.slice(2), sdpMLineIndex: index, sdpMid: mid, usernameFragment: fragment });
    }
  }
  return all.map((init) => new RTCIceCandidate(init));
}
