/**
 * In a mesh everyone encodes and sends the picture once for each other participant, so more participants mean a smaller
 * picture for each: the sum stays near what a home connection carries upwards.
 *
 * @typedef {{maxBitrate: number, maxHeight: number}} Budget bit/s and pixels for one picture to one peer
 */

/** Up to so many others, this for each. @type {[number, Budget][]} */
const STEPS = [
  [1, { maxBitrate: 2_500_000, maxHeight: 720 }],
  [2, { maxBitrate: 1_200_000, maxHeight: 540 }],
  [4, { maxBitrate: 600_000, maxHeight: 360 }],
  [8, { maxBitrate: 300_000, maxHeight: 270 }],
];
/** @type {Budget} */
const SMALLEST = { maxBitrate: 150_000, maxHeight: 180 };

/**
 * @param {number} others
 * @returns {Budget}
 */
export function meshBudget(others) {
  return STEPS.find(([most]) => others <= most)?.[1] ?? SMALLEST;
}

/**
 * Limits the picture that a sender sends.
 *
 * @param {RTCRtpSender | null} sender
 * @param {Budget | null} budget
 */
export async function fit(sender, budget) {
  if (!sender || !budget) return;
  const parameters = sender.getParameters();
  const height = sender.track?.getSettings().height ?? 0;
  const scale = Math.max(1, height / budget.maxHeight);
  const [encoding] = parameters.encodings ?? [];
  if (!encoding || (encoding.maxBitrate === budget.maxBitrate && encoding.scaleResolutionDownBy === scale)) return;
  encoding.maxBitrate = budget.maxBitrate;
  encoding.scaleResolutionDownBy = scale;
  // A limit that could not be set costs bandwidth, not the call.
  await sender.setParameters(parameters).catch((error) => console.warn("bitrate not limited", error));
}
