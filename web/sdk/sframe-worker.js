// Encrypts and decrypts frames beside the page's own thread (RTCRtpScriptTransform).
import { FrameDecrypter, FrameEncrypter } from "./sframe.js";

// @ts-ignore: the type of the global object of a worker is not in the types of a page.
globalThis.onrtctransform = ({ transformer }) => {
  const { direction, kind, secret } = transformer.options;
  const encrypter = direction === "send" ? new FrameEncrypter(secret) : null;
  const decrypter = direction === "receive" ? new FrameDecrypter(secret) : null;
  let refused = false;
  const transform = new TransformStream({
    async transform(frame, controller) {
      const data = new Uint8Array(frame.data);
      const changed = encrypter ? await encrypter.encrypt(kind, data).catch(() => null) : await decrypter?.decrypt(kind, data);
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
