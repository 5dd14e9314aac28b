/** The qualities in which a server gets a picture, the lowest first. @param {import("./messages.js").Source} source @returns {RTCRtpEncodingParameters[]} */
export function qualities(source) {
  if (source === "screen") return [{ rid: "f", maxBitrate: 2_500_000 }];
  return [
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
  ];
}
