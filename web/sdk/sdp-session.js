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
 * The session that a description is of (RFC 8829 §5.2.1): it stays for the life of a connection. All connections of a
 * server may have one certificate.
 *
 * @param {string} [sdp]
 * @returns {Set<string>}
 */
export function sessions(sdp = "") {
  return new Set([...sdp.matchAll(/^o=\S+ (\d+) /gm)].map(([, one]) => one));
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

/**
 * A description without what it says of payload types that no line offers: Firefox leaves their `a=rtcp-fb` behind
 * when codecs were taken out by `setCodecPreferences`, and Chromium then refuses the whole.
 *
 * @param {RTCSessionDescription} description
 * @returns {RTCSessionDescriptionInit}
 */
export function withListedFormats({ type, sdp }) {
  /** @type {Set<string> | null} */
  let listed = null;
  const keeps = (/** @type {string} */ line) => {
    if (line.startsWith("m=")) listed = /^m=(audio|video) /.test(line) ? new Set(line.trim().split(" ").slice(3)) : null;
    const format = /^a=(?:rtpmap|fmtp|rtcp-fb):(\d+) /.exec(line)?.[1];
    return !format || !listed || listed.has(format);
  };
  return { type, sdp: sdp.split(/(?<=\n)/).filter(keeps).join("") };
}
