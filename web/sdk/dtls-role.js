const OPPOSITE = { active: "passive", passive: "active" };

/**
 * Writes into an offer that comes in the middle of a connection which DTLS role its sender has had from the start.
 * An offer leaves the choice (`actpass`), and its answer must keep the role as it is (RFC 8829 §5.3.1); Firefox
 * chooses `active` each time, which the sender of the offer then has to refuse where it is `active` itself.
 *
 * @param {RTCSessionDescriptionInit} offer
 * @param {RTCSessionDescriptionInit | null} local the description in force on this side
 * @param {RTCSessionDescriptionInit | null} remote the one on the other
 * @returns {RTCSessionDescriptionInit}
 */
export function withRoleKept(offer, local, remote) {
  const answer = [local, remote].find((one) => one?.type === "answer");
  const [, role] = /^a=setup:(active|passive)\s*$/m.exec(answer?.sdp ?? "") ?? [];
  if (!role) return offer;
  const senders = answer === remote ? role : OPPOSITE[/** @type {"active" | "passive"} */ (role)];
  return { ...offer, sdp: offer.sdp?.replace(/^a=setup:actpass/gm, `a=setup:${senders}`) };
}
