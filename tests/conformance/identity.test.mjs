/** Identities (webrtc-identity): assertions in descriptions, and who the other side is. */

import assert from 'node:assert/strict';
import { nonstandard } from '../../bindings/node/lib/index.js';
import { negotiate, peers, test } from './page.mjs';

const DOMAIN = 'idp.example';
const alice = `alice@${DOMAIN}`;

/** A provider that believes everyone; what it is asked is kept. */
function provider(t, { domain = DOMAIN, protocol, ...changed } = {}) {
  const asked = [];
  const proxy = {
    async generateAssertion(contents, origin, options) {
      asked.push({ contents: JSON.parse(contents), origin, options });
      return { idp: { domain, protocol }, assertion: JSON.stringify({ contents, identity: options.usernameHint }) };
    },
    async validateAssertion(assertion) {
      return JSON.parse(assertion);
    },
    ...changed,
  };
  nonstandard.registerIdentityProvider(domain, proxy, { protocol });
  t.after(() => nonstandard.registerIdentityProvider(domain, null, { protocol }));
  return asked;
}

/** What an assertion in base64 says. */
const read = (assertion) => JSON.parse(Buffer.from(assertion, 'base64').toString());

const lineOf = ({ sdp }) => /^a=identity:(\S+)/m.exec(sdp)?.[1];

/** The name of the exception of a promise, and its detail. */
async function refused(promise) {
  const error = await promise.then(() => assert.fail('it was fulfilled'), (reason) => reason);
  return [error.name, error.errorDetail];
}

test('an assertion says whose certificate it is, and is kept until the provider changes', async (t) => {
  const asked = provider(t);
  const certificate = await RTCPeerConnection.generateCertificate({ name: 'ECDSA', namedCurve: 'P-256' });
  const [own] = peers(t, 1, { certificates: [certificate], peerIdentity: 'bob@other.example' });
  own.setIdentityProvider(DOMAIN, { usernameHint: alice });
  const [first, second] = await Promise.all([own.getIdentityAssertion(), own.getIdentityAssertion()]);
  assert.equal(first, second);
  assert.deepEqual(read(first).idp, { domain: DOMAIN, protocol: 'default' });
  assert.equal(asked.length, 1);
  const [{ algorithm, value }] = certificate.getFingerprints();
  assert.deepEqual(asked[0].contents, { fingerprint: [{ algorithm, digest: value.toUpperCase() }] });
  assert.deepEqual(asked[0].options, { protocol: 'default', usernameHint: alice, peerIdentity: 'bob@other.example' });
  own.setIdentityProvider(DOMAIN, { usernameHint: alice });
  assert.equal(await own.getIdentityAssertion(), first);
  assert.equal(asked.length, 1);
  own.setIdentityProvider(DOMAIN, { usernameHint: `carol@${DOMAIN}` });
  assert.notEqual(await own.getIdentityAssertion(), first);
  assert.equal(asked.length, 2);
});

test('both sides of a call know each other', async (t) => {
  provider(t);
  const [a, b] = peers(t);
  a.setIdentityProvider(DOMAIN, { usernameHint: alice });
  b.setIdentityProvider(DOMAIN, { usernameHint: `bob@${DOMAIN}` });
  a.addTransceiver('audio');
  await negotiate(a, b);
  for (const [own, name] of [[a, `bob@${DOMAIN}`], [b, alice]]) {
    const peer = await own.peerIdentity;
    assert.ok(peer instanceof RTCIdentityAssertion);
    assert.deepEqual([peer.idp, peer.name], [DOMAIN, name]);
    assert.equal(lineOf(own.localDescription), await own.getIdentityAssertion());
    assert.equal(own.localDescription, own.currentLocalDescription);
  }
  assert.equal(lineOf(a.remoteDescription), lineOf(b.localDescription));
  // Another round with implicit descriptions; the identity stays the same object.
  const before = a.peerIdentity;
  a.addTransceiver('video');
  await a.setLocalDescription();
  assert.equal(lineOf(a.pendingLocalDescription), await a.getIdentityAssertion());
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  assert.equal(a.peerIdentity, before);
  // Now somebody else says that they are there: not with these connections.
  b.setIdentityProvider(DOMAIN, { usernameHint: `carol@${DOMAIN}` });
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  assert.deepEqual(await refused(a.setRemoteDescription(b.localDescription)), ['InvalidModificationError', undefined]);
  assert.equal(a.signalingState, 'closed');
});

test('who has to be there must say so', async (t) => {
  provider(t);
  const [a] = peers(t, 1);
  const [b, c] = peers(t, 2, { peerIdentity: alice });
  a.createDataChannel('');
  const plain = await a.createOffer();
  assert.equal(lineOf(plain), undefined);
  assert.deepEqual(await refused(b.setRemoteDescription(plain)), ['OperationError', undefined]);
  assert.equal(b.signalingState, 'stable');
  a.setIdentityProvider(DOMAIN, { usernameHint: alice });
  const offer = await a.createOffer();
  await c.setRemoteDescription(offer);
  assert.equal((await c.peerIdentity).name, alice);
  await c.setLocalDescription();
  // The same certificate is the same person; another one is somebody who says nothing.
  const { sdp } = offer;
  await c.setRemoteDescription({ type: 'offer', sdp: sdp.replace(/^a=identity.*\r\n/m, '') });
  await c.setLocalDescription();
  const others = sdp.replace(/^a=identity.*\r\n/m, '').replace(/(a=fingerprint:sha-256 )\S\S/g, '$100');
  assert.notEqual(others, sdp.replace(/^a=identity.*\r\n/m, ''));
  assert.equal((await refused(c.setRemoteDescription({ type: 'offer', sdp: others })))[0], 'OperationError');
  assert.throws(() => c.setConfiguration({ peerIdentity: 'someone@else.example' }), { name: 'InvalidModificationError' });
});

test('an assertion must be for the certificate and for the domain', async (t) => {
  const wrong = [
    [{ validateAssertion: async (given) => ({ ...JSON.parse(given), contents: 'bogus' }) }, 'OperationError', undefined],
    [{ validateAssertion: async (given) => ({ ...JSON.parse(given), identity: 'alice@else.example' }) }, 'OperationError', undefined],
    [{ validateAssertion: async (given) => ({ ...JSON.parse(given), identity: DOMAIN }) }, 'OperationError', undefined],
    [{ validateAssertion: async () => ({ identity: alice }) }, 'OperationError', undefined],
    [{ validateAssertion: async () => { throw Object.assign(new Error('no'), { idpErrorInfo: 'why' }); } }, 'OperationError', 'idp-execution-failure'],
  ];
  for (const [changed, ...expected] of wrong) {
    provider(t, changed);
    const [a, b] = peers(t);
    const [c] = peers(t, 1, { peerIdentity: alice });
    a.setIdentityProvider(DOMAIN, { usernameHint: alice });
    a.createDataChannel('');
    const offer = await a.createOffer();
    assert.deepEqual(await refused(c.setRemoteDescription(offer)), expected);
    assert.deepEqual(await refused(c.peerIdentity), expected);
    assert.equal(c.idpErrorInfo, expected[1] === undefined ? null : 'why');
    // Where nobody in particular is awaited, the next description may still say who is there.
    const before = b.peerIdentity;
    await b.setRemoteDescription(offer);
    assert.deepEqual(await refused(before), expected);
    assert.notEqual(b.peerIdentity, before);
    provider(t);
    await b.setRemoteDescription(offer);
    assert.equal((await b.peerIdentity).name, alice);
  }
});

test('assertions that nobody can have made', async (t) => {
  provider(t);
  const [a] = peers(t, 1);
  const { sdp } = await a.createOffer();
  const stated = (text) => ({ type: 'offer', sdp: `${sdp}a=identity:${Buffer.from(text).toString('base64')}\r\n` });
  for (const [text, detail] of [
    ['{', undefined], ['null', undefined], ['{"idp":{}}', undefined],
    [JSON.stringify({ idp: { domain: DOMAIN, protocol: 'a/b' }, assertion: '' }), undefined],
    [JSON.stringify({ idp: { domain: 'nobody.example' }, assertion: '' }), 'idp-load-failure'],
  ]) {
    const [own] = peers(t, 1, { peerIdentity: alice });
    assert.deepEqual(await refused(own.setRemoteDescription(stated(text))), ['OperationError', detail]);
  }
});

test('a provider that fails', async (t) => {
  const [own, other] = peers(t);
  assert.deepEqual(await refused(own.getIdentityAssertion()), ['OperationError', undefined]);
  own.setIdentityProvider('nobody.example');
  assert.deepEqual(await refused(own.getIdentityAssertion()), ['OperationError', 'idp-load-failure']);
  assert.throws(() => own.setIdentityProvider(DOMAIN, { protocol: 'a\\b' }), { name: 'SyntaxError' });
  const login = Object.assign(new Error('who are you?'), { idpLoginUrl: `https://${DOMAIN}/login`, idpErrorInfo: 'login' });
  for (const [generateAssertion, detail] of [
    [() => { throw new Error('no'); }, 'idp-execution-failure'],
    [async () => { throw login; }, 'idp-need-login'],
    [async () => { throw new RTCError({ errorDetail: 'idp-token-expired' }); }, 'idp-token-expired'],
    [async () => ({ assertion: '' }), undefined],
  ]) {
    provider(t, { generateAssertion });
    own.setIdentityProvider(DOMAIN);
    assert.deepEqual(await refused(own.createOffer()), ['OperationError', detail]);
    assert.equal(own.idpLoginUrl, detail === 'idp-need-login' ? login.idpLoginUrl : detail === undefined ? null : own.idpLoginUrl);
  }
  await own.setRemoteDescription(await other.createOffer());
  assert.equal((await refused(own.createAnswer()))[0], 'OperationError');
  assert.equal((await refused(own.setLocalDescription()))[0], 'OperationError');
  provider(t);
  await own.setLocalDescription();
  own.close();
  assert.throws(() => own.setIdentityProvider(DOMAIN), { name: 'InvalidStateError' });
  assert.deepEqual(await refused(own.getIdentityAssertion()), ['InvalidStateError', undefined]);
});

test('a provider that does not answer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  provider(t, { generateAssertion: () => new Promise(() => {}) });
  const [own] = peers(t, 1);
  own.setIdentityProvider(DOMAIN);
  let asked = refused(own.getIdentityAssertion());
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
  t.mock.timers.tick(15_000);
  assert.deepEqual(await asked, ['OperationError', 'idp-timeout']);
});

test('media cannot be isolated', async () => {
  const [track] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getTracks();
  assert.equal(track.isolated, false);
  track.stop();
  await assert.rejects(navigator.mediaDevices.getUserMedia({ audio: true, peerIdentity: alice }), { name: 'NotSupportedError' });
});
