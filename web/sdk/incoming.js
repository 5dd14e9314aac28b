/**
 * What arrives, and the id of the MediaStream of which it is.
 *
 * @typedef {{track: MediaStreamTrack, stream: string, receiver: RTCRtpReceiver, transceiver: RTCRtpTransceiver}} Incoming
 */

/** @typedef {{track: MediaStreamTrack, receiver: RTCRtpReceiver, mid: string | null, muted: boolean}} Received */

/**
 * @param {{track: MediaStreamTrack, receiver: RTCRtpReceiver, transceiver: RTCRtpTransceiver}} line
 * @param {boolean} muted whether its sender says so
 */
export function received({ track, receiver, transceiver }, muted) {
  return { track, receiver, mid: transceiver.mid, muted: muted || track.muted };
}

/** Firefox has written stream ids in braces. @param {string} stream */
export function bare(stream) {
  return stream.replace(/[{}]/g, "");
}

/** @param {RTCRtpTransceiver} transceiver */
export function isReceiving({ currentDirection }) {
  // `null` while the first answer is on its way: the track is there already.
  return currentDirection !== "inactive" && currentDirection !== "sendonly" && currentDirection !== "stopped";
}
