/** `RTCConfiguration` (W3C webrtc-pc §4.2, §4.4.1.6). */

import { boolean, dictionary, enumeration, octetEnforced, sequence, string } from './webidl.js';
import { isCertificate, isSameCertificate } from './certificate.js';

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
  // What Chromium asks for before `createEncodedStreams` may be called.
  encodedInsertableStreams: { as: boolean },
  iceCandidatePoolSize: { as: octetEnforced, or: 0 },
  iceServers: { as: sequence(toServer), or: () => [] },
  iceTransportPolicy: { as: enumeration('RTCIceTransportPolicy', ['relay', 'all']), or: 'all' },
  peerIdentity: { as: string },
  rtcpMuxPolicy: { as: enumeration('RTCRtcpMuxPolicy', ['require']), or: 'require' },
});

const syntax = (url) => new DOMException(`'${url}' is not the URL of a STUN or TURN server`, 'SyntaxError');
const access = (reason) => new DOMException(reason, 'InvalidAccessError');

/** The URL of a server, read as §4.4.1.6 has it: RFC 7064, RFC 7065, and the host as in any URL. */
function parseUrl(url) {
  let outer;
  let inner;
  try {
    outer = new URL(url);
    inner = new URL(`https://${outer.host === '' ? outer.pathname : outer.host}`);
  } catch {
    throw syntax(url);
  }
  const scheme = outer.protocol.slice(0, -1);
  if (!['stun', 'stuns', 'turn', 'turns'].includes(scheme) || outer.hash !== '') throw syntax(url);
  const isTurn = scheme.startsWith('turn');
  if (outer.search !== '' && !(isTurn && /^\?transport=(udp|tcp)$/i.test(outer.search))) throw syntax(url);
  return { isTurn, plain: `${scheme}:${inner.hostname}${inner.port === '' ? portOf(outer) : `:${inner.port}`}${outer.search}` };
}

/** 443 is the default of the URL that the host was read as, and would be lost. */
const portOf = (outer) => (/:0*443(?:[/?]|$)/.test(outer.pathname) ? ':443' : '');

function checkUrl(url, server) {
  const { isTurn } = parseUrl(url);
  if (!isTurn) return;
  if (server.username === undefined || server.credential === undefined) {
    throw access(`${url} needs a username and a credential`);
  }
  if (Buffer.byteLength(server.username) > 508) throw access('the username is longer than 508 bytes');
}

/** Servers with their URLs in the plain form of the two RFCs. */
export function plainServers(servers) {
  return servers.map(({ urls: given, username, credential }) => ({
    urls: given.map((url) => parseUrl(url).plain), username, credential,
  }));
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
      && configuration.certificates.every((own, index) => isSameCertificate(own, old.certificates[index]));
    if (!same) throw changed('certificates');
  } else {
    configuration.certificates = old.certificates;
  }
  if (configuration.peerIdentity === undefined) configuration.peerIdentity = old.peerIdentity;
  if (configuration.peerIdentity !== old.peerIdentity) throw changed('peerIdentity');
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
