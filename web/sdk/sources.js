/** @typedef {import("./messages.js").Source} Source */

/** Lines that every connection has from the start, so that switching a camera on needs no negotiation. @param {Source} source */
export function isBase(source) {
  return source === "microphone" || source === "camera";
}

/** @param {Source} source */
export function kindOf(source) {
  return source === "microphone" || source === "screen-audio" ? "audio" : "video";
}

/** The qualities in which a server gets a picture, the lowest first. @param {Source} source @returns {RTCRtpEncodingParameters[]} */
export function qualities(source) {
  if (source === "screen") return [{ rid: "f", maxBitrate: 2_500_000 }];
  return [
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
  ];
}
