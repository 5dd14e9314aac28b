/** @typedef {import("./messages.js").Source} Source */

/** @typedef {"vp8" | "h264" | "vp9" | "av1"} VideoCodec */

/** @type {readonly VideoCodec[]} */
export const VIDEO_CODECS = Object.freeze(["vp8", "h264", "vp9", "av1"]);

/** Three sizes in one stream, of which only key frames need those below: a server passes on one of them. */
const LAYERS = "L3T3_KEY";

/** @type {boolean | null} */
let known = null;

/** Whether this browser makes layers within a stream of a codec. Only a sender that was asked for them tells. @param {VideoCodec} codec */
function makesLayers(codec) {
  const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  if (!codecs.some(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`)) return false;
  if (known !== null) return known;
  const probe = new RTCPeerConnection();
  try {
    const { sender } = probe.addTransceiver("video", { direction: "sendonly", sendEncodings: [/** @type {any} */ ({ scalabilityMode: LAYERS })] });
    known = /** @type {any} */ (sender.getParameters().encodings[0])?.scalabilityMode === LAYERS;
  } catch {
    known = false;
  } finally {
    probe.close();
  }
  return known;
}

/**
 * The qualities in which a server gets a picture, the lowest first: streams of their own, or layers within one where the
 * codec has them.
 * @param {Source} source
 * @param {VideoCodec | null} [codec]
 * @returns {RTCRtpEncodingParameters[]}
 */
export function qualities(source, codec = null) {
  const inLayers = (codec === "vp9" || codec === "av1") && makesLayers(codec);
  if (source === "screen") return [{ rid: "f", maxBitrate: 2_500_000 }];
  if (inLayers) return [/** @type {any} */ ({ scalabilityMode: LAYERS, maxBitrate: 1_700_000 })];
  return [
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
  ];
}

/**
 * Puts a codec before the others of a line. A browser that does not make it sends the next one.
 * @param {RTCRtpTransceiver} transceiver
 * @param {VideoCodec} codec
 * @param {RTCRtpCodec[]} [among] default all that the browser knows
 */
export function prefer(transceiver, codec, among = RTCRtpReceiver.getCapabilities("video")?.codecs ?? []) {
  if (transceiver.receiver.track.kind !== "video") return;
  const isMeant = (/** @type {RTCRtpCodec} */ { mimeType }) => mimeType.toLowerCase() === `video/${codec}`;
  if (among.some(isMeant)) transceiver.setCodecPreferences([...among.filter(isMeant), ...among.filter((one) => !isMeant(one))]);
}
