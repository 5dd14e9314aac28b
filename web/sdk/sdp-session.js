/**
 * The certificates that a description names.
 *
 * @param {string} [sdp]
 * @returns {Set<string>}
 */
export function fingerprints(sdp = "") {
  return new Set([...sdp.matchAll(/^a=fingerprint:\s*(\S+\s+\S+)/gim)].map(([, one]) => one.toUpperCase()));
}

/**
 * Whether the sender of `sdp` has begun a new connection since the one that named `known`: it has another certificate.
 * No browser takes such an offer on the old one.
 *
 * @param {Set<string>} known
 * @param {string} [sdp]
 */
export function isOtherConnection(known, sdp) {
  const named = fingerprints(sdp);
  return known.size > 0 && named.size > 0 && ![...named].some((one) => known.has(one));
}
