/** The interfaces of WebRTC, under the names of the W3C. */

export { RTCPeerConnection } from './peer-connection.js';
export { RTCSessionDescription } from './session-description.js';
export { RTCIceCandidate } from './ice-candidate.js';
export { RTCCertificate } from './certificate.js';
export { RTCDataChannel } from './data-channel.js';
export { RTCSctpTransport } from './sctp-transport.js';
export { RTCDtlsTransport } from './dtls-transport.js';
export { RTCIceCandidatePair, RTCIceTransport } from './ice-transport.js';
export { RTCEncodedAudioFrame, RTCEncodedVideoFrame } from './encoded-frames.js';
export { RTCRtpScriptTransform } from './script-transform.js';
export {
  RTCRtpSFrameDecryptor, RTCRtpSFrameEncryptor, SFrameDecryptorStream, SFrameEncryptorStream, SFrameTransformErrorEvent,
} from './sframe.js';
export { RTCRtpTransceiver } from './rtp-transceiver.js';
export { RTCRtpSender } from './rtp-sender.js';
export { RTCRtpReceiver } from './rtp-receiver.js';
export { RTCDTMFSender } from './dtmf-sender.js';
export { RTCStatsReport } from './stats-report.js';
export { RTCIdentityAssertion } from './identity-assertion.js';
export { RTCError } from './errors.js';
export {
  MediaStreamTrackEvent, RTCDTMFToneChangeEvent, RTCDataChannelEvent, RTCErrorEvent, RTCPeerConnectionIceErrorEvent,
  RTCPeerConnectionIceEvent, RTCTrackEvent,
} from './events.js';
export { DeviceChangeEvent, InputDeviceInfo, MediaDeviceInfo, MediaDevices, OverconstrainedError } from './media-devices.js';
export { MediaStream } from './media-stream.js';
export { MediaStreamTrack } from './media-stream-track.js';
export * as nonstandard from './nonstandard.js';
