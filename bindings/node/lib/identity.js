/**
 * Identities (W3C webrtc-identity): an identity provider vouches for who a peer is, and its word travels in
 * `a=identity` (RFC 8827 §7). In a browser the provider is a script that it loads from the provider's site; here
 * the application registers it, and so trusts it.
 */

import { dictionary, string } from './webidl.js';
import { RTCError, invalidState } from './errors.js';
import { RTCIdentityAssertion } from './identity-assertion.js';
import { queueTask } from './tasks.js';

const DEFAULT_PROTOCOL = 'default';

/** How long a provider may take (webrtc-identity §8). */
const PROVIDER_MS = 15_000;

const toOptions = dictionary('RTCIdentityProviderOptions', {
  peerIdentity: { as: string },
  protocol: { as: string, or: DEFAULT_PROTOCOL },
  usernameHint: { as: string },
});
const toDetails = dictionary('RTCIdentityProviderDetails', {
  domain: { as: string, need: true },
  protocol: { as: string, or: DEFAULT_PROTOCOL },
});
const toAssertionResult = dictionary('RTCIdentityAssertionResult', {
  assertion: { as: string, need: true },
  idp: { as: toDetails, need: true },
});
const toValidationResult = dictionary('RTCIdentityValidationResult', {
  contents: { as: string, need: true },
  identity: { as: string, need: true },
});

const providers = new Map();
const keyOf = (domain, protocol) => `${domain.toLowerCase()}/${protocol}`;
const hasSlash = (protocol) => /[/\\]/.test(protocol);

function checkProtocol(protocol) {
  if (hasSlash(protocol)) throw new DOMException('a protocol has no slashes', 'SyntaxError');
}

/**
 * Registers what the site of a provider would: `{ generateAssertion, validateAssertion }` (webrtc-identity §5), or
 * `null` to take it back.
 */
export function registerIdentityProvider(domain, provider, { protocol = DEFAULT_PROTOCOL } = {}) {
  checkProtocol(string(protocol));
  const key = keyOf(string(domain), protocol);
  if (provider === null) {
    providers.delete(key);
    return;
  }
  for (const member of ['generateAssertion', 'validateAssertion']) {
    if (typeof provider?.[member] !== 'function') throw new TypeError(`the provider has no ${member}()`);
  }
  providers.set(key, provider);
}

/** What a connection knows of identities. */
export class Identities {
  constructor(fingerprints, configured) {
    this.fingerprints = fingerprints;
    this.configured = configured;
    this.provider = null;
    this.assertion = null;
    this.loginUrl = null;
    this.errorInfo = null;
    /** Who the other side has to be, once that is settled. */
    this.target = configured;
    /** The fingerprints of the certificates that an assertion covered. */
    this.covered = null;
    /** The assertions in our descriptions. */
    this.sent = { currentLocal: null, pendingLocal: null };
    this.validating = Promise.resolve();
    this.isWrongPeer = false;
    this.renewPeer();
  }

  renewPeer() {
    this.peer = Promise.withResolvers === undefined ? withResolvers() : Promise.withResolvers();
    // Nobody needs to look at it.
    this.peer.promise.catch(() => {});
  }
}

function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

const failure = (reason) => new DOMException(reason, 'OperationError');
const idpError = (errorDetail, reason) => new RTCError({ errorDetail }, reason);
const origin = () => globalThis.location?.origin ?? 'null';

/** `setIdentityProvider`. */
export function setIdentityProvider(own, domain, given) {
  const name = string(domain);
  const options = toOptions(given);
  if (own.isClosed) throw invalidState('the connection is closed');
  checkProtocol(options.protocol);
  const known = own.identities.provider;
  const same = known !== null && known.name === name
    && ['protocol', 'usernameHint', 'peerIdentity'].every((key) => known.options[key] === options[key]);
  own.identities.provider = { name, options };
  if (!same) own.identities.assertion = null;
}

/** `getIdentityAssertion`. */
export function getIdentityAssertion(own) {
  return new Promise((resolve, reject) => {
    queueTask(() => {
      if (own.isClosed) reject(invalidState('the connection is closed'));
      else resolve(assertionOf(own));
    });
  });
}

/** The assertion of who we are in base64 (§6), kept for the descriptions to come. */
function assertionOf(own) {
  const { identities } = own;
  const { provider } = identities;
  if (provider === null) return Promise.reject(failure('no identity provider was set'));
  identities.assertion ??= request(identities, provider).catch((error) => {
    if (identities.provider === provider) identities.assertion = null;
    throw error;
  });
  return identities.assertion;
}

async function request(identities, { name, options }) {
  const fingerprint = identities.fingerprints.map(({ algorithm, value }) => ({ algorithm, digest: value.toUpperCase() }));
  const stated = { ...options };
  if (stated.peerIdentity === undefined && identities.configured !== undefined) stated.peerIdentity = identities.configured;
  const contents = JSON.stringify({ fingerprint });
  const ask = (proxy) => proxy.generateAssertion(contents, origin(), stated);
  const { idp, assertion } = await askProvider(identities, name, options.protocol, ask, toAssertionResult);
  return Buffer.from(JSON.stringify({ idp, assertion })).toString('base64');
}

/** Asks a provider for something; whatever it does, an answer or an exception comes in time. */
async function askProvider(identities, domain, protocol, ask, convert) {
  const proxy = providers.get(keyOf(domain, protocol));
  if (proxy === undefined) throw idpError('idp-load-failure', `no identity provider is registered for ${domain}, ${protocol}`);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(idpError('idp-timeout', `${domain} did not answer in time`)), PROVIDER_MS);
  });
  let answer;
  try {
    answer = await Promise.race([late, (async () => ask(proxy))().catch((error) => Promise.reject(executionError(identities, error)))]);
  } finally {
    clearTimeout(timer);
  }
  try {
    return convert(answer);
  } catch {
    throw failure(`what ${domain} answered is not what it should`);
  }
}

/** What becomes of an exception of a provider (§8). */
function executionError(identities, error) {
  const text = (value) => (typeof value === 'string' ? value : null);
  identities.loginUrl = text(error?.idpLoginUrl);
  identities.errorInfo = text(error?.idpErrorInfo);
  if (error instanceof RTCError && error.errorDetail.startsWith('idp-')) return error;
  const detail = identities.loginUrl === null ? 'idp-execution-failure' : 'idp-need-login';
  return idpError(detail, text(error?.message) ?? 'the identity provider failed');
}

/** A description that we made with what the provider says of us, where there is one. */
export function assertIdentity(own, sdp) {
  if (own.identities.provider === null) return sdp;
  return assertionOf(own).then((assertion) => withIdentity(sdp, assertion));
}

/** A description with an assertion among the attributes of the session. */
export function withIdentity(sdp, assertion) {
  if (assertion === null) return sdp;
  const at = sdp.search(/^m=/m);
  const line = `a=identity:${assertion}\r\n`;
  return at < 0 ? sdp + line : sdp.slice(0, at) + line + sdp.slice(at);
}

const session = (sdp) => sdp.split(/^m=/m, 1)[0];

/** The description without its assertion, and the assertion. */
export function splitIdentity(sdp) {
  const found = /^a=identity:([^\s]+)[^\r\n]*\r?\n/m.exec(session(sdp));
  if (found === null) return { plain: sdp, assertion: null };
  return { plain: sdp.slice(0, found.index) + sdp.slice(found.index + found[0].length), assertion: found[1] };
}

/** Our descriptions changed: which of them says which assertion. */
export function noteSent(own, isLocal, type, assertion) {
  const { sent } = own.identities;
  if (type === 'answer') sent.currentLocal = isLocal ? assertion : sent.pendingLocal;
  if (type === 'offer' || type === 'pranswer') sent.pendingLocal = isLocal ? assertion : sent.pendingLocal;
  if (type === 'answer' || type === 'rollback') sent.pendingLocal = null;
}

const fingerprintsOf = (sdp) => [...sdp.matchAll(/^a=fingerprint:(\S+) (\S+)/gm)]
  .map(([, algorithm, digest]) => `${algorithm.toLowerCase()} ${digest.toUpperCase()}`);

/**
 * Checks who a remote description comes from (§7). Resolves once it may be set: at once where nobody in particular
 * has to be there, and the answer goes to `peerIdentity` alone.
 */
export async function checkPeer(own, sdp) {
  const { identities } = own;
  const { assertion } = splitIdentity(sdp);
  if (assertion === null && identities.target === undefined) return;
  const done = identities.validating.then(() => verify(own, sdp, assertion));
  identities.validating = done.catch(() => {});
  if (identities.target !== undefined) await done;
}

async function verify(own, sdp, assertion) {
  const { identities } = own;
  try {
    const { idp, name, covered } = await validate(identities, sdp, assertion);
    if (identities.target !== undefined && identities.target !== name) {
      identities.isWrongPeer = true;
      throw new DOMException(`the peer is ${name}, not ${identities.target}`, 'InvalidModificationError');
    }
    Object.assign(identities, { target: name, covered });
    identities.peer.resolve(new RTCIdentityAssertion(idp, name));
  } catch (error) {
    identities.peer.reject(error);
    if (identities.target === undefined) identities.renewPeer();
    throw error;
  }
}

async function validate(identities, sdp, given) {
  const stated = fingerprintsOf(sdp);
  if (given === null) {
    // The certificate that was vouched for still is the same person's.
    const { covered, target } = identities;
    if (covered === null || stated.some((own) => !covered.includes(own))) throw failure('the description says nothing of who sent it');
    return { idp: (await identities.peer.promise).idp, name: target, covered };
  }
  let idp;
  let assertion;
  try {
    ({ idp, assertion } = toAssertionResult(JSON.parse(Buffer.from(given, 'base64').toString())));
  } catch {
    throw failure('the identity assertion is malformed');
  }
  if (hasSlash(idp.protocol)) throw failure('the protocol of the identity assertion has a slash');
  const ask = (proxy) => proxy.validateAssertion(assertion, origin());
  const { identity, contents } = await askProvider(identities, idp.domain, idp.protocol, ask, toValidationResult);
  const covered = coveredBy(contents);
  if (stated.some((own) => !covered.includes(own))) throw failure('the identity assertion is for another certificate');
  const domain = idp.domain.replace(/:\d+$/, '').toLowerCase();
  // Nobody vouches for people of another domain (RFC 8827 §8.1).
  if (identity.slice(identity.lastIndexOf('@') + 1).toLowerCase() !== domain || !identity.includes('@')) {
    throw failure(`${idp.domain} cannot say who ${identity} is`);
  }
  return { idp: domain, name: identity, covered };
}

/** The fingerprints in the contents of an assertion (RFC 8827 §7.4). */
function coveredBy(contents) {
  let parsed;
  try {
    parsed = JSON.parse(contents);
  } catch {
    return [];
  }
  if (!Array.isArray(parsed?.fingerprint)) return [];
  return parsed.fingerprint.map((own) => `${String(own?.algorithm).toLowerCase()} ${String(own?.digest).toUpperCase()}`);
}
