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
 * Qualities that a picture of at least so many pixels has, the lowest first. Engines send no more of them (libwebrtc's
 * table of simulcast formats): of three that were asked of a picture of 640 by 480 the largest would never come.
 *
 * @type {[number, RTCRtpEncodingParameters[]][]}
 */
const QUALITIES = [
  [
    960 * 540,
    [
      { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
      { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
      { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
    ],
  ],
  [
    480 * 270,
    [
      { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 250_000 },
      { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_000_000 },
    ],
  ],
  [0, [{ rid: "f", scaleResolutionDownBy: 1, maxBitrate: 500_000 }]],
];

/**
 * The qualities in which a server gets a picture, the lowest first: streams of their own, or layers within one where the
 * codec has them.
 * @param {Source} source
 * @param {VideoCodec | null} [codec]
 * @param {{width?: number, height?: number}} [size] of the picture; where it is not known, it is taken for a large one
 * @returns {RTCRtpEncodingParameters[]}
 */
export function qualities(source, codec = null, { width, height } = {}) {
  const inLayers = (codec === "vp9" || codec === "av1") && makesLayers(codec);
  if (source === "screen") return [{ rid: "f", maxBitrate: 2_500_000 }];
  if (inLayers) return [/** @type {any} */ ({ scalabilityMode: LAYERS, maxBitrate: 1_700_000 })];
  const pixels = width && height ? width * height : Infinity;
  const [, all] = QUALITIES.find(([least]) => pixels >= least) ?? QUALITIES[0];
  return all.map((one) => ({ ...one }));
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
