// Encrypts and decrypts frames beside the page's own thread (RTCRtpScriptTransform).
import { ENCRYPTED_VIDEO_CODECS, FrameDecrypter, FrameEncrypter, codecOfKeyFrame } from "./sframe.js";

/**
 * How frames of a track are to be taken; `null` for what cannot be encrypted.
 *
 * @param {string} kind
 * @returns {(frame: any, data: Uint8Array) => import("./sframe.js").FrameCodec | null}
 */
function codecsOf(kind) {
  if (kind === "audio") return () => "audio";
  /** @type {string | null} */
  let seen = null;
  return (frame, data) => {
    const { mimeType } = frame.getMetadata();
    // Not every browser says it. Codecs change with a key frame, of which the first bytes tell, encrypted or not.
    if (mimeType === undefined && frame.type === "key") seen = codecOfKeyFrame(data);
    const name = mimeType === undefined ? seen : mimeType.replace(/^video\//i, "").toUpperCase();
    return /** @type {any} */ (ENCRYPTED_VIDEO_CODECS.find((codec) => codec === name) ?? null);
  };
}

// @ts-ignore: the type of the global object of a worker is not in the types of a page.
globalThis.onrtctransform = ({ transformer }) => {
  const { direction, kind, secret } = transformer.options;
  const encrypter = direction === "send" ? new FrameEncrypter(secret) : null;
  const decrypter = direction === "receive" ? new FrameDecrypter(secret) : null;
  const codecOf = codecsOf(kind);
  let refused = false;
  const transform = new TransformStream({
    async transform(frame, controller) {
      const data = new Uint8Array(frame.data);
      const codec = codecOf(frame, data);
      const changed = codec && (encrypter ? await encrypter.encrypt(codec, data).catch(() => null) : await decrypter?.decrypt(codec, data));
      // What cannot be encrypted is not sent, and what cannot be decrypted is not shown.
      if (!changed) {
        refused = true;
        return;
      }
      if (refused && kind === "video" && decrypter && frame.type !== "key") transformer.sendKeyFrameRequest?.().catch(() => {});
      refused = false;
      frame.data = changed.buffer;
      controller.enqueue(frame);
    },
  });
  transformer.readable.pipeThrough(transform).pipeTo(transformer.writable).catch(() => {}); // the track has ended
};
