/** Dictionaries of senders and receivers (W3C webrtc-pc §5.2). */

import {
  boolean, dictionary, double, enumeration, octet, sequence, string, unsignedLong, unsignedShort,
} from './webidl.js';

const isPriority = enumeration('RTCPriorityType', ['very-low', 'low', 'medium', 'high']);
const isDegradation = enumeration('RTCDegradationPreference', [
  'maintain-framerate', 'maintain-resolution', 'balanced', 'maintain-framerate-and-resolution',
]);
export const isDirection = enumeration('RTCRtpTransceiverDirection', [
  'sendrecv', 'sendonly', 'recvonly', 'inactive', 'stopped',
]);

const codecMembers = {
  channels: { as: unsignedShort },
  clockRate: { as: unsignedLong, need: true },
  mimeType: { as: string, need: true },
  sdpFmtpLine: { as: string },
};
export const toCodec = dictionary('RTCRtpCodec', codecMembers);
export const toCodecs = sequence(toCodec);

export const toExtensions = sequence(dictionary('RTCRtpHeaderExtensionCapability', {
  direction: { as: isDirection, or: 'sendrecv' },
  uri: { as: string, need: true },
}));

export const toEncoding = dictionary('RTCRtpEncodingParameters', {
  active: { as: boolean, or: true },
  adaptivePtime: { as: boolean, or: false },
  codec: { as: toCodec },
  maxBitrate: { as: unsignedLong },
  maxFramerate: { as: double },
  networkPriority: { as: isPriority, or: 'low' },
  priority: { as: isPriority, or: 'low' },
  rid: { as: string },
  scalabilityMode: { as: string },
  scaleResolutionDownBy: { as: double },
});

/** `RTCSetParameterOptions` (webrtc-extensions). */
export const toSetOptions = dictionary('RTCSetParameterOptions', {
  encodingOptions: { as: sequence(dictionary('RTCEncodingOptions', { keyFrame: { as: boolean, or: false } })), or: () => [] },
});

/** What the members of an encoding say that are kept and have no effect, by its place. */
export const keptOf = (encodings) => encodings.map(({ networkPriority, adaptivePtime }) => ({ networkPriority, adaptivePtime }));

export const toTransceiverInit = (isStream) => dictionary('RTCRtpTransceiverInit', {
  direction: { as: isDirection, or: 'sendrecv' },
  sendEncodings: { as: sequence(toEncoding), or: () => [] },
  streams: { as: sequence(isStream), or: () => [] },
});

export const toSendParameters = dictionary('RTCRtpSendParameters', {
  codecs: { as: sequence(dictionary('RTCRtpCodecParameters', { ...codecMembers, payloadType: { as: octet, need: true } })), need: true },
  encodings: { as: sequence(toEncoding), need: true },
  degradationPreference: { as: isDegradation },
  headerExtensions: {
    as: sequence(dictionary('RTCRtpHeaderExtensionParameters', {
      encrypted: { as: boolean, or: false },
      id: { as: unsignedShort, need: true },
      uri: { as: string, need: true },
    })),
    need: true,
  },
  rtcp: { as: dictionary('RTCRtcpParameters', { cname: { as: string }, reducedSize: { as: boolean } }), need: true },
  transactionId: { as: string, need: true },
});

/** An object without the members that have no value. */
export function present(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined));
}

/** A loudness in -dBov (RFC 6464 §3), of which 127 is silence, between 0 and 1. */
export function linearLevel(level) {
  if (level === undefined || level === null) return undefined;
  return level >= 127 ? 0 : 10 ** (-level / 20);
}

/** `sendEncodings` as §5.1 checks them; answers what the stack takes. */
export function checkEncodings(kind, given) {
  const rids = given.map((own) => own.rid);
  for (const rid of rids) {
    if (rid !== undefined && !/^[A-Za-z0-9]{1,16}$/.test(rid)) throw new TypeError(`'${rid}' is no rid`);
  }
  if (given.length > 1 && rids.includes(undefined)) throw new TypeError('each of several encodings needs a rid');
  if (new Set(rids).size !== rids.length) throw new TypeError('two encodings have the same rid');
  const video = kind === 'video';
  const encodings = (video ? given : given.slice(0, 1)).map((own) => {
    const { scaleResolutionDownBy, maxFramerate, scalabilityMode, codec, adaptivePtime, ...rest } = own;
    return video ? { ...rest, scaleResolutionDownBy, maxFramerate, scalabilityMode } : rest;
  });
  if (!video) return encodings.map(({ rid, ...rest }) => rest);
  for (const { scaleResolutionDownBy: scale, maxFramerate: rate } of encodings) {
    if (scale !== undefined && scale < 1) throw new RangeError('scaleResolutionDownBy is below 1');
    if (rate !== undefined && rate < 0) throw new RangeError('maxFramerate is negative');
  }
  return encodings;
}

/** Whether two codecs are the same (§5.2.10, "codec match"). */
export const sameCodec = (a) => (b) => a.mimeType.toLowerCase() === b.mimeType.toLowerCase()
  && a.clockRate === b.clockRate
  && (a.channels ?? 1) === (b.channels ?? 1)
  && (a.sdpFmtpLine ?? '') === (b.sdpFmtpLine ?? '');

/** The `codec` of each encoding: one of `choosable`, or what `unknown` makes is thrown. */
export function checkCodecs(encodings, choosable, unknown) {
  for (const { codec } of encodings) {
    if (codec !== undefined && !choosable.some(sameCodec(codec))) throw unknown(`${codec.mimeType} cannot be chosen`);
  }
  return encodings.map(({ codec }) => codec);
}
