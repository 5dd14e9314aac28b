/**
 * While a room moves, the same comes by two connections: by the new one from when it flows there.
 *
 * @template {{track: MediaStreamTrack}} Received
 * @template Publication
 * @param {Received | null} own
 * @param {{incoming: (publication: Publication) => Received | null} | null} former
 * @param {Publication} publication
 * @returns {Received | null}
 */
export function flowing(own, former, publication) {
  if (!former || (own && !own.track.muted)) return own;
  return former.incoming(publication) ?? own;
}
