/// <reference lib="dom" />

// The interfaces of WebRTC are those of TypeScript's library of the DOM: code that was checked for a
// browser is checked for this package.

declare const own: typeof globalThis;

export const RTCPeerConnection: typeof own.RTCPeerConnection;
export type RTCPeerConnection = globalThis.RTCPeerConnection;
export const RTCSessionDescription: typeof own.RTCSessionDescription;
export type RTCSessionDescription = globalThis.RTCSessionDescription;
export const RTCIceCandidate: typeof own.RTCIceCandidate;
export type RTCIceCandidate = globalThis.RTCIceCandidate;
export const RTCCertificate: typeof own.RTCCertificate;
export type RTCCertificate = globalThis.RTCCertificate;
export const RTCDataChannel: typeof own.RTCDataChannel;
export type RTCDataChannel = globalThis.RTCDataChannel;
export const RTCSctpTransport: typeof own.RTCSctpTransport;
export type RTCSctpTransport = globalThis.RTCSctpTransport;
export const RTCDtlsTransport: typeof own.RTCDtlsTransport;
export type RTCDtlsTransport = globalThis.RTCDtlsTransport;
export const RTCIceTransport: typeof own.RTCIceTransport;
export type RTCIceTransport = globalThis.RTCIceTransport;
export const RTCRtpTransceiver: typeof own.RTCRtpTransceiver;
export type RTCRtpTransceiver = globalThis.RTCRtpTransceiver;
export const RTCRtpSender: typeof own.RTCRtpSender;
export type RTCRtpSender = globalThis.RTCRtpSender;
export const RTCRtpReceiver: typeof own.RTCRtpReceiver;
export type RTCRtpReceiver = globalThis.RTCRtpReceiver;
export const RTCDTMFSender: typeof own.RTCDTMFSender;
export type RTCDTMFSender = globalThis.RTCDTMFSender;
export const RTCStatsReport: typeof own.RTCStatsReport;
export type RTCStatsReport = globalThis.RTCStatsReport;
export const RTCError: typeof own.RTCError;
export type RTCError = globalThis.RTCError;
export const RTCPeerConnectionIceEvent: typeof own.RTCPeerConnectionIceEvent;
export const RTCPeerConnectionIceErrorEvent: typeof own.RTCPeerConnectionIceErrorEvent;
export const RTCDataChannelEvent: typeof own.RTCDataChannelEvent;
export const RTCTrackEvent: typeof own.RTCTrackEvent;
export const RTCErrorEvent: typeof own.RTCErrorEvent;
export const RTCDTMFToneChangeEvent: typeof own.RTCDTMFToneChangeEvent;
export const MediaStreamTrackEvent: typeof own.MediaStreamTrackEvent;
export const MediaStream: typeof own.MediaStream;
export type MediaStream = globalThis.MediaStream;
export const MediaStreamTrack: typeof own.MediaStreamTrack;
export type MediaStreamTrack = globalThis.MediaStreamTrack;

export const MediaDevices: typeof own.MediaDevices;
export type MediaDevices = globalThis.MediaDevices;
export const MediaDeviceInfo: typeof own.MediaDeviceInfo;
export type MediaDeviceInfo = globalThis.MediaDeviceInfo;
export const InputDeviceInfo: typeof own.InputDeviceInfo;
export type InputDeviceInfo = globalThis.InputDeviceInfo;
export const OverconstrainedError: typeof own.OverconstrainedError;
export const RTCEncodedAudioFrame: typeof own.RTCEncodedAudioFrame;
export type RTCEncodedAudioFrame = globalThis.RTCEncodedAudioFrame;
export const RTCEncodedVideoFrame: typeof own.RTCEncodedVideoFrame;
export type RTCEncodedVideoFrame = globalThis.RTCEncodedVideoFrame;

/** Encryption of frames from end to end (webrtc-encoded-transform §3, RFC 9605). */
export type SFrameCipherSuite =
  | 'AES_128_CTR_HMAC_SHA256_80' | 'AES_128_CTR_HMAC_SHA256_64' | 'AES_128_CTR_HMAC_SHA256_32'
  | 'AES_128_GCM_SHA256_128' | 'AES_256_GCM_SHA512_128'
  | 'AES_256_CTR_HMAC_SHA512_80' | 'AES_256_CTR_HMAC_SHA512_64' | 'AES_256_CTR_HMAC_SHA512_32';
export interface SFrameTransformOptions {
  cipherSuite: SFrameCipherSuite;
}
interface SFrameEncryptorManager {
  /** A key for HKDF, of which bits may be derived. */
  setEncryptionKey(key: CryptoKey, keyId: number | bigint): Promise<void>;
}
interface SFrameDecryptorManager extends EventTarget {
  addDecryptionKey(key: CryptoKey, keyId: number | bigint): Promise<void>;
  removeDecryptionKey(keyId: number | bigint): Promise<void>;
  onerror: ((event: SFrameTransformErrorEvent) => unknown) | null;
}
export interface RTCRtpSFrameEncryptor extends SFrameEncryptorManager {}
export const RTCRtpSFrameEncryptor: { new (options: SFrameTransformOptions & { type?: 'per-frame' }): RTCRtpSFrameEncryptor; prototype: RTCRtpSFrameEncryptor };
export interface RTCRtpSFrameDecryptor extends SFrameDecryptorManager {}
export const RTCRtpSFrameDecryptor: { new (options: SFrameTransformOptions): RTCRtpSFrameDecryptor; prototype: RTCRtpSFrameDecryptor };
export interface SFrameEncryptorStream extends SFrameEncryptorManager, GenericTransformStream {}
export const SFrameEncryptorStream: { new (options: SFrameTransformOptions): SFrameEncryptorStream; prototype: SFrameEncryptorStream };
export interface SFrameDecryptorStream extends SFrameDecryptorManager, GenericTransformStream {}
export const SFrameDecryptorStream: { new (options: SFrameTransformOptions): SFrameDecryptorStream; prototype: SFrameDecryptorStream };
type SFrameTransformErrorEventType = 'authentication' | 'keyID' | 'syntax';
export interface SFrameTransformErrorEvent extends Event {
  readonly errorType: SFrameTransformErrorEventType;
  readonly keyID: bigint | null;
  readonly frame: globalThis.RTCEncodedVideoFrame | globalThis.RTCEncodedAudioFrame;
}
export const SFrameTransformErrorEvent: {
  new (type: string, init: EventInit & { errorType: SFrameTransformErrorEventType; frame: globalThis.RTCEncodedVideoFrame | globalThis.RTCEncodedAudioFrame; keyID?: number | bigint | null }): SFrameTransformErrorEvent;
  prototype: SFrameTransformErrorEvent;
};

/** What the library of the DOM does not have of webrtc-identity. */
declare global {
  interface RTCPeerConnection {
    setIdentityProvider(provider: string, options?: { protocol?: string; usernameHint?: string; peerIdentity?: string }): void;
    getIdentityAssertion(): Promise<string>;
    readonly peerIdentity: Promise<RTCIdentityAssertion>;
    readonly idpLoginUrl: string | null;
    readonly idpErrorInfo: string | null;
  }
  interface RTCConfiguration {
    peerIdentity?: string;
  }
  interface MediaStreamTrack {
    readonly isolated: boolean;
    onisolationchange: ((this: MediaStreamTrack, event: Event) => unknown) | null;
  }
}
export interface RTCIdentityAssertion {
  idp: string;
  name: string;
}
export const RTCIdentityAssertion: {
  new (idp: string, name: string): RTCIdentityAssertion;
  prototype: RTCIdentityAssertion;
};

export interface DeviceChangeEvent extends Event {
  readonly devices: readonly globalThis.MediaDeviceInfo[];
  readonly userInsertedDevices: readonly globalThis.MediaDeviceInfo[];
}
export const DeviceChangeEvent: {
  new (type: string, init?: EventInit & { devices?: globalThis.MediaDeviceInfo[] }): DeviceChangeEvent;
  prototype: DeviceChangeEvent;
};

/** The worker is one of `node:worker_threads` that has imported `twocan/globals`. */
export const RTCRtpScriptTransform: {
  new (worker: { postMessage(message: unknown, transfer?: readonly unknown[]): void }, options?: unknown, transfer?: readonly object[]): globalThis.RTCRtpScriptTransform;
  prototype: globalThis.RTCRtpScriptTransform;
};
export type RTCRtpScriptTransform = globalThis.RTCRtpScriptTransform;

export interface RTCIceCandidatePair {
  readonly local: globalThis.RTCIceCandidate;
  readonly remote: globalThis.RTCIceCandidate;
}
export const RTCIceCandidatePair: { prototype: RTCIceCandidatePair };

/** What no standard has. */
export namespace nonstandard {
  /** Settings of connections that are made from here on. */
  interface Settings {
    /** Also gather loopback addresses. Default false. */
    loopbackCandidates?: boolean;
    /** Whether host candidates have names in place of addresses, as in browsers. Default false. */
    hideHostAddresses?: boolean;
    /** Whether packets are marked for routers by their `networkPriority` (RFC 8837). Default false. */
    dscp?: boolean;
    /** Names of the interfaces that are used. Default all. */
    interfaces?: string[];
    /** First and last port that is bound. Default any. */
    ports?: [number, number];
    /** The longest message that is taken, in bytes. Default 262,144. */
    maxMessageSize?: number;
    /** Whether a simulcast that is offered is accepted. Default false. */
    receiveSimulcast?: boolean;
  }
  /** An encoded frame. */
  interface Frame {
    /** The name of its codec, such as `opus` or `VP8`. */
    codec: string;
    /** The sampling instant in ticks of the codec's clock; it wraps at 2³². */
    timestamp: number;
    /** For H.264 an access unit in Annex B form; for the others what the codec yields. */
    data: Uint8Array;
    /** Of a simulcast, the encoding. */
    rid?: string | null;
  }
  interface ReceivedFrame extends Frame {
    /** Whether it can be decoded without those before it. */
    keyFrame: boolean;
  }
  function configure(settings?: Settings): void;
  /** A track that sends nothing until frames are written to the sender that has it. */
  function createTrack(kind: 'audio' | 'video', options?: { label?: string }): globalThis.MediaStreamTrack;
  /** A stream of synthetic tracks, which send a still picture and silence until frames are written. */
  function getUserMedia(constraints?: { audio?: unknown; video?: unknown }): Promise<globalThis.MediaStream>;
  function writeFrame(sender: globalThis.RTCRtpSender, frame: Frame): void;
  function readFrames(receiver: globalThis.RTCRtpReceiver, sink: (frame: ReceivedFrame) => void): void;
  /**
   * Calls `encoder` when the other side, or a transform, wants a key frame of what is written to a sender;
   * `rid` is null where there is one encoding, or all are meant. `null` takes it away.
   */
  function onKeyFrameWanted(sender: globalThis.RTCRtpSender, encoder: ((request: { rid: string | null }) => void) | null): void;
  /** What a provider of identities does in the place of the script of its site (webrtc-identity §5). */
  interface IdentityProvider {
    generateAssertion(contents: string, origin: string, options: { protocol: string; usernameHint?: string; peerIdentity?: string }): Promise<{ idp: { domain: string; protocol?: string }; assertion: string }>;
    validateAssertion(assertion: string, origin: string): Promise<{ identity: string; contents: string }>;
  }
  /** Trusts `provider` to speak for `domain` in all connections of this thread; `null` takes it back. */
  function registerIdentityProvider(domain: string, provider: IdentityProvider | null, options?: { protocol?: string }): void;
  /** Asks the other side for a key frame. */
  function requestKeyFrame(receiver: globalThis.RTCRtpReceiver): void;
}
