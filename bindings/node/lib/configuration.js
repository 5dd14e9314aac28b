/** `RTCConfiguration` (W3C webrtc-pc §4.2, §4.4.1.6). */

import { boolean, dictionary, enumeration, octetEnforced, sequence, string } from './webidl.js';
import { isCertificate } from './certificate.js';

const urls = (value) => (typeof value === 'object' && value !== null && Symbol.iterator in value
  ? sequence(string)(value)
  : [string(value)]);

const toServer = dictionary('RTCIceServer', {
  credential: { as: string },
  urls: { as: urls, need: true },
  username: { as: string },
});

const certificate = (value) => {
  if (!isCertificate(value)) throw new TypeError('not an RTCCertificate');
  return value;
};

const toConfiguration = dictionary('RTCConfiguration', {
  alwaysNegotiateDataChannels: { as: boolean, or: false },
  bundlePolicy: { as: enumeration('RTCBundlePolicy', ['balanced', 'max-compat', 'max-bundle']), or: 'balanced' },
  certificates: { as: sequence(certificate), or: () => [] },
  iceCandidatePoolSize: { as: octetEnforced, or: 0 },
  iceServers: { as: sequence(toServer), or: () => [] },
  iceTransportPolicy: { as: enumeration('RTCIceTransportPolicy', ['relay', 'all']), or: 'all' },
  rtcpMuxPolicy: { as: enumeration('RTCRtcpMuxPolicy', ['require']), or: 'require' },
});

const syntax = (url) => new DOMException(`'${url}' is not the URL of a STUN or TURN server`, 'SyntaxError');
const access = (reason) => new DOMException(reason, 'InvalidAccessError');

/** RFC 7064 §3.1, RFC 7065 §3.1. */
function checkUrl(url, server) {
  const match = /^(stuns?|turns?):(\[[0-9a-f:.]+\]|[^:/?#[\]@\s]+)(?::(\d{1,5}))?(?:\?(.*))?$/i.exec(url);
  if (match === null || (match[3] !== undefined && Number(match[3]) > 65535)) throw syntax(url);
  const [, scheme, , , query] = match;
  const isTurn = scheme.toLowerCase().startsWith('turn');
  if (query !== undefined && !(isTurn && /^transport=(udp|tcp)$/i.test(query))) throw syntax(url);
  if (!isTurn) return;
  if (server.username === undefined || server.credential === undefined) {
    throw access(`${url} needs a username and a credential`);
  }
  if (Buffer.byteLength(server.username) > 508) throw access('the username is longer than 508 bytes');
}

/** Converts and checks a configuration; `old` is the one that `setConfiguration` replaces. */
export function checkConfiguration(value, old) {
  const configuration = toConfiguration(value);
  for (const own of configuration.certificates) {
    if (own.expires <= Date.now()) throw access('a certificate has expired');
  }
  const given = value === undefined || value === null ? {} : value;
  if (old !== undefined) checkChange(configuration, old, given.certificates !== undefined);
  for (const server of configuration.iceServers) {
    if (server.urls.length === 0) throw new DOMException('an ICE server without URLs', 'SyntaxError');
    for (const url of server.urls) checkUrl(url, server);
  }
  return configuration;
}

function checkChange(configuration, old, hasCertificates) {
  const changed = (what) => new DOMException(`${what} cannot be changed`, 'InvalidModificationError');
  if (hasCertificates) {
    const same = configuration.certificates.length === old.certificates.length
      && configuration.certificates.every((own, index) => own === old.certificates[index]);
    if (!same) throw changed('certificates');
  } else {
    configuration.certificates = old.certificates;
  }
  if (configuration.bundlePolicy !== old.bundlePolicy) throw changed('bundlePolicy');
  if (configuration.rtcpMuxPolicy !== old.rtcpMuxPolicy) throw changed('rtcpMuxPolicy');
  if (old.hasLocal && configuration.iceCandidatePoolSize !== old.iceCandidatePoolSize) {
    throw changed('iceCandidatePoolSize');
  }
}

/** What `getConfiguration` answers: a copy. */
export function copyConfiguration(own) {
  return {
    ...own,
    certificates: [...own.certificates],
    iceServers: own.iceServers.map((server) => ({ ...server, urls: [...server.urls] })),
  };
}
