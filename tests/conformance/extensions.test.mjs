/** Control of RTP header extensions (webrtc-extensions), and parameters. */

import assert from 'node:assert/strict';
import { media, negotiate, next, peers, reaches, test, trickle } from './page.mjs';

const uris = (sdp) => [...sdp.matchAll(/^a=extmap:\d+(?:\/\w+)? (\S+)/gm)].map(([, uri]) => uri);
const named = (name) => ({ name });
const mid = 'urn:ietf:params:rtp-hdrext:sdes:mid';
const level = 'urn:ietf:params:rtp-hdrext:ssrc-audio-level';

for (const kind of ['audio', 'video']) {
  test(`${kind}: what can be negotiated is what the capabilities list, and is offered`, async (t) => {
    const [pc] = peers(t, 1);
    const own = pc.addTransceiver(kind);
    const offered = own.getHeaderExtensionsToNegotiate();
    assert.deepEqual(offered.map(({ uri }) => uri), RTCRtpSender.getCapabilities(kind).headerExtensions.map(({ uri }) => uri));
    assert.ok(offered.every(({ direction }) => ['sendrecv', 'stopped'].includes(direction)));
    assert.ok(own.getNegotiatedHeaderExtensions().every(({ direction }) => direction === 'stopped'));
    const { sdp } = await pc.createOffer();
    assert.deepEqual(uris(sdp).sort(), offered.filter(({ direction }) => direction === 'sendrecv').map(({ uri }) => uri).sort());
    // What is stopped at first is offered where it is asked for.
    const asked = offered.find(({ direction }) => direction === 'stopped');
    asked.direction = 'sendrecv';
    own.setHeaderExtensionsToNegotiate(offered);
    assert.deepEqual(own.getHeaderExtensionsToNegotiate(), offered);
    assert.ok(uris((await pc.createOffer()).sdp).includes(asked.uri));
  });
}

test('what is stopped is neither offered nor answered', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver('audio');
  const list = own.getHeaderExtensionsToNegotiate();
  list.find(({ uri }) => uri === level).direction = 'stopped';
  own.setHeaderExtensionsToNegotiate(list);
  assert.deepEqual(own.getHeaderExtensionsToNegotiate(), list);
  assert.ok(!uris((await a.createOffer()).sdp).includes(level));

  b.addTrack(await media(t, 'audio'));
  const [theirs] = b.getTransceivers();
  own.setHeaderExtensionsToNegotiate(list.map(({ uri }) => ({ uri, direction: 'sendrecv' })));
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  theirs.setHeaderExtensionsToNegotiate(theirs.getHeaderExtensionsToNegotiate().map(({ uri }) => (
    { uri, direction: uri === level ? 'stopped' : 'sendrecv' }
  )));
  await b.setLocalDescription();
  assert.ok(!uris(b.localDescription.sdp).includes(level));
  await a.setRemoteDescription(b.localDescription);
  for (const each of [own, theirs]) {
    const states = new Map(each.getNegotiatedHeaderExtensions().map(({ uri, direction }) => [uri, direction]));
    assert.deepEqual([states.get(level), states.get(mid)], ['stopped', 'sendrecv']);
  }
  assert.ok(!own.sender.getParameters().headerExtensions.some(({ uri }) => uri === level));
});

test('one way only', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver('audio');
  own.setHeaderExtensionsToNegotiate(own.getHeaderExtensionsToNegotiate().map(({ uri }) => (
    { uri, direction: uri === level ? 'sendonly' : 'sendrecv' }
  )));
  await a.setLocalDescription();
  assert.match(a.localDescription.sdp, /a=extmap:\d+\/sendonly urn:ietf:params:rtp-hdrext:ssrc-audio-level/);
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  assert.match(b.localDescription.sdp, /a=extmap:\d+\/recvonly urn:ietf:params:rtp-hdrext:ssrc-audio-level/);
  await a.setRemoteDescription(b.localDescription);
  const state = (each) => each.getNegotiatedHeaderExtensions().find(({ uri }) => uri === level).direction;
  assert.deepEqual([state(own), state(b.getTransceivers()[0])], ['sendonly', 'recvonly']);
});

test('what is refused', (t) => {
  const [pc] = peers(t, 1);
  const own = pc.addTransceiver('video');
  const list = () => own.getHeaderExtensionsToNegotiate();
  const refused = (given, error) => assert.throws(() => own.setHeaderExtensionsToNegotiate(given), error);
  refused(undefined, TypeError);
  refused(list().map(({ uri }) => ({ uri, direction: 'both' })), TypeError);
  refused([], named('InvalidModificationError'));
  refused(list().slice(1), named('InvalidModificationError'));
  refused(list().reverse(), named('InvalidModificationError'));
  refused(list().map((each, index) => (index === 0 ? { ...each, uri: 'urn:other' } : each)), named('InvalidModificationError'));
  refused(list().map((each) => (each.uri === mid ? { ...each, direction: 'stopped' } : each)), named('InvalidModificationError'));
  const copy = list();
  copy[0].direction = 'stopped';
  assert.equal(list()[0].direction, 'sendrecv');
  own.stop();
  refused(list(), named('InvalidStateError'));
});

test('a restart of the negotiation keeps the numbers', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver('audio');
  await negotiate(a, b);
  const number = (sdp) => /a=extmap:(\d+) urn:ietf:params:rtp-hdrext:ssrc-audio-level/.exec(sdp)?.[1];
  const before = number(a.localDescription.sdp);
  const all = own.getHeaderExtensionsToNegotiate();
  own.setHeaderExtensionsToNegotiate(all.map(({ uri }) => ({ uri, direction: uri === level ? 'stopped' : 'sendrecv' })));
  await negotiate(a, b);
  assert.equal(number(a.localDescription.sdp), undefined);
  own.setHeaderExtensionsToNegotiate(all);
  await negotiate(a, b);
  assert.equal(number(a.localDescription.sdp), before);
});

test('data channels are negotiated before there is one, and before all media', async (t) => {
  const sections = ({ sdp }) => [...sdp.matchAll(/^m=(\w+)/gm)].map(([, kind]) => kind);
  const own = new RTCPeerConnection({ alwaysNegotiateDataChannels: true });
  const other = new RTCPeerConnection();
  t.after(() => [own, other].forEach((pc) => pc.close()));
  assert.equal(own.getConfiguration().alwaysNegotiateDataChannels, true);
  assert.equal(other.getConfiguration().alwaysNegotiateDataChannels, false);
  assert.deepEqual(sections(await own.createOffer()), ['application']);
  assert.deepEqual(sections(await other.createOffer()), []);
  own.addTransceiver('audio');
  other.addTransceiver('audio');
  assert.deepEqual(sections(await own.createOffer()), ['application', 'audio']);
  assert.deepEqual(sections(await other.createOffer()), ['audio']);

  trickle(own, other);
  await negotiate(own, other);
  await reaches(own.sctp, 'state', 'connected');
  own.onnegotiationneeded = () => assert.fail('nothing is to be negotiated');
  const channel = own.createDataChannel('late');
  const [{ channel: theirs }] = await Promise.all([next(other, 'datachannel'), next(channel, 'open')]);
  assert.equal(theirs.label, 'late');
  assert.deepEqual(sections(await own.createOffer()), ['application', 'audio']);
});
