/** The candidates that a description lists. */

import { RTCIceCandidate } from './ice-candidate.js';

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
