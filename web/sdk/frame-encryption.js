import { fromBase64Url, toBase64Url } from "./base64url.js";
import { RoomSeal } from "./room-seal.js";
import { ENCRYPTED_VIDEO_CODECS } from "./sframe.js";

/** Bytes of a room's secret. */
const SECRET_LEN = 32;

/**
 * Sound and pictures that servers forward and cannot read: SFrame (RFC 9605) with one secret that all participants
 * share. What participants write and send each other is sealed with keys of the same secret. The secret is in the fragment of the room's link, `#key=…`, which browsers do not send.
 *
 * Sound of any codec can be encrypted, and pictures of VP8, VP9 and AV1; video is limited to these.
 */
export class FrameEncryption {
  #secret;
  /** @type {Worker | null} */
  #worker = null;

  /** @param {Uint8Array} secret 32 random bytes */
  constructor(secret) {
    if (secret.length !== SECRET_LEN) throw new RangeError(`a secret has ${SECRET_LEN} bytes, not ${secret.length}`);
    if (!FrameEncryption.isSupported) throw new DOMException("this browser cannot transform encoded frames", "NotSupportedError");
    this.#secret = secret.slice();
  }

  static get isSupported() {
    return "RTCRtpScriptTransform" in globalThis && Boolean(globalThis.crypto?.subtle);
  }

  /**
   * The encryption that a room's link asks for, or `null`.
   *
   * @param {string | URL} link
   * @returns {FrameEncryption | null}
   * @throws {RangeError} where the secret is none; `NotSupportedError` where the browser cannot do it
   */
  static ofLink(link) {
    const text = new URLSearchParams(new URL(link, globalThis.location?.href).hash.slice(1)).get("key");
    if (text === null) return null;
    const secret = fromBase64Url(text);
    if (!secret) throw new RangeError("what follows #key= is not a secret in base64url");
    return new FrameEncryption(secret);
  }

  /** A new secret, as it stands in a link: `#key=…`. */
  static newFragment() {
    const secret = crypto.getRandomValues(new Uint8Array(SECRET_LEN));
    return `#key=${toBase64Url(secret)}`;
  }

  /** At once when there is a sender: before anything is sent. @param {RTCRtpTransceiver} transceiver */
  encrypt({ sender, receiver }) {
    sender.transform ??= this.#transform("send", receiver.track.kind);
  }

  /** @param {RTCRtpTransceiver} transceiver */
  decrypt({ receiver }) {
    // Told of a track again, a receiver keeps the transform that it has.
    receiver.transform ??= this.#transform("receive", receiver.track.kind);
  }

  /** A line of one's own, both ways. @param {RTCRtpTransceiver} transceiver */
  protect(transceiver) {
    this.limitCodecs(transceiver);
    this.encrypt(transceiver);
    this.decrypt(transceiver);
  }

  /** Leaves the codecs whose frames can be encrypted. @param {RTCRtpTransceiver} transceiver */
  limitCodecs(transceiver) {
    transceiver.setCodecPreferences(this.codecs(transceiver.receiver.track.kind));
  }

  /** The codecs whose frames can be encrypted. @param {string} kind */
  codecs(kind) {
    const all = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
    // A server that repeats sound for who loses some would put RED around what is encrypted.
    if (kind === "audio") return all.filter(({ mimeType }) => mimeType.toLowerCase() !== "audio/red");
    const names = [...ENCRYPTED_VIDEO_CODECS, "rtx", "red", "ulpfec", "flexfec-03"].map((name) => `video/${name}`.toLowerCase());
    return all.filter(({ mimeType }) => names.includes(mimeType.toLowerCase()));
  }

  /** What seals messages and files. @param {string} room its name, as it stands in the link */
  seal(room) {
    return new RoomSeal(this.#secret, room);
  }

  close() {
    this.#worker?.terminate();
    this.#worker = null;
  }

  /** @param {"send" | "receive"} direction @param {string} kind */
  #transform(direction, kind) {
    this.#worker ??= new Worker(new URL("./sframe-worker.js", import.meta.url), { type: "module", name: "frame encryption" });
    return new RTCRtpScriptTransform(this.#worker, { direction, kind, secret: this.#secret });
  }
}
