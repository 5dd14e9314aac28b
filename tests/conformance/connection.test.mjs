/** The connection, its descriptions and its operations, as webrtc-pc §4 has them. */

import assert from 'node:assert/strict';
import { nonstandard } from '../../bindings/node/lib/index.js';
import { capture, connected, log, media, negotiate, next, peers, reaches, settled, test, trickle } from './page.mjs';

const named = (name) => ({ name });
const turns = (count = 1) => new Promise((resolve) => { setTimeout(resolve, count); });

test('an answer that is provisional, then final', async (t) => {
  const [a, b] = peers(t);
  const seen = log(b, 'signalingstatechange');
  a.addTransceiver('audio');
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  const answer = await b.createAnswer();
  await b.setLocalDescription({ type: 'pranswer', sdp: answer.sdp });
  assert.deepEqual([b.signalingState, b.localDescription.type, b.currentLocalDescription], ['have-local-pranswer', 'pranswer', null]);
  await a.setRemoteDescription({ type: 'pranswer', sdp: answer.sdp });
  assert.deepEqual([a.signalingState, a.remoteDescription.type], ['have-remote-pranswer', 'pranswer']);
  await b.setLocalDescription({ type: 'pranswer', sdp: answer.sdp });
  await b.setLocalDescription(answer);
  await a.setRemoteDescription({ type: 'pranswer', sdp: answer.sdp });
  await a.setRemoteDescription(answer);
  assert.deepEqual([a.signalingState, b.signalingState], ['stable', 'stable']);
  assert.deepEqual([b.pendingLocalDescription, b.pendingRemoteDescription], [null, null]);
  assert.deepEqual(seen, ['signalingstatechange', 'signalingstatechange', 'signalingstatechange']);
});

test('an answer of another connection, and of none', async (t) => {
  const [a, b] = peers(t);
  a.createDataChannel('');
  await assert.rejects(a.setRemoteDescription({ type: 'answer', sdp: '' }), named('InvalidStateError'));
  await assert.rejects(a.setLocalDescription({ type: 'answer', sdp: '' }), named('InvalidStateError'));
  await assert.rejects(a.createAnswer(), named('InvalidStateError'));
  await a.setLocalDescription();
  await assert.rejects(a.setLocalDescription({ type: 'answer', sdp: a.localDescription.sdp }), named('InvalidStateError'));
  await b.setRemoteDescription(a.localDescription);
  await assert.rejects(b.setLocalDescription({ type: 'offer', sdp: '' }), named('InvalidStateError'));
  await assert.rejects(b.createOffer(), named('InvalidStateError'));
});

test('setLocalDescription takes what was created last, and nothing older', async (t) => {
  const [a] = peers(t, 1);
  const old = await a.createOffer();
  a.addTransceiver('audio');
  const fresh = await a.createOffer();
  await assert.rejects(a.setLocalDescription(old), named('InvalidModificationError'));
  await a.setLocalDescription(fresh);
  const [b, c] = peers(t);
  const [one, two] = [await b.createOffer(), await c.createOffer()];
  await assert.rejects(b.setLocalDescription(two), named('InvalidModificationError'));
  await b.setLocalDescription(one);
  await b.setLocalDescription({ type: 'offer', sdp: '' });
});

test('malformed descriptions say in which line', async (t) => {
  const [a] = peers(t, 1);
  await assert.rejects(a.setRemoteDescription({ type: 'offer', sdp: 'v=0\r\nnonsense' }), (error) => (
    error instanceof RTCError && error.errorDetail === 'sdp-syntax-error' && Number.isInteger(error.sdpLineNumber)
  ));
  await assert.rejects(a.setRemoteDescription({ type: 'bogus', sdp: '' }), TypeError);
  await assert.rejects(a.setRemoteDescription(), TypeError);
  await assert.rejects(a.setLocalDescription({ type: 'bogus' }), TypeError);
  assert.equal(a.signalingState, 'stable');
});

test('operations are chained', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  const order = [];
  const note = (name) => () => order.push(name);
  const offer = a.createOffer().then((made) => { order.push('offer'); return made; });
  const more = a.createOffer().then(note('second'));
  const local = a.setLocalDescription().then(note('local'));
  await Promise.all([offer, more, local]);
  assert.deepEqual(order, ['offer', 'second', 'local']);
  assert.equal(a.signalingState, 'have-local-offer');
  const remote = b.setRemoteDescription(a.localDescription);
  const candidate = b.addIceCandidate({ candidate: '', sdpMLineIndex: 0 });
  const answer = b.createAnswer();
  const answered = b.setLocalDescription();
  await Promise.all([remote, candidate, answer, answered]);
  assert.equal(b.signalingState, 'stable');
});

test('nothing settles once the connection is closed', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  const pending = [a.createOffer(), a.setLocalDescription(), a.addTransceiver('video').sender.replaceTrack(null)];
  a.close();
  for (const own of pending) assert.equal(await settled(own), 'pending');
  for (const call of ['createOffer', 'createAnswer', 'setLocalDescription']) {
    await assert.rejects(a[call](), named('InvalidStateError'));
  }
  await assert.rejects(a.setRemoteDescription({ type: 'offer', sdp: '' }), named('InvalidStateError'));
  await assert.rejects(a.addIceCandidate({ candidate: '', sdpMid: '0' }), named('InvalidStateError'));
  b.close();
  b.close();
  assert.deepEqual([b.signalingState, b.iceConnectionState, b.connectionState], ['closed', 'closed', 'closed']);
});

test('close fires nothing', async (t) => {
  const { a, b, ours } = await connected(t);
  const seen = log(a, 'signalingstatechange', 'iceconnectionstatechange', 'connectionstatechange', 'icegatheringstatechange');
  const channel = log(ours, 'close', 'error', 'closing');
  const { sctp } = a;
  a.close();
  assert.deepEqual([a.sctp, sctp.state, sctp.transport.state, sctp.transport.iceTransport.state], [sctp, 'closed', 'closed', 'closed']);
  assert.equal(ours.readyState, 'closed');
  await reaches(b, 'connectionState', 'disconnected', 'failed', 'closed');
  assert.deepEqual([seen, channel], [[], []]);
});

test('both sides offer: the offer of the other side takes ours back', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  b.addTransceiver('video');
  await a.setLocalDescription();
  const states = [];
  a.addEventListener('signalingstatechange', () => states.push(a.signalingState));
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  assert.deepEqual(states, ['stable', 'have-remote-offer']);
  assert.equal(a.getTransceivers()[0].mid, null);
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  assert.equal(b.signalingState, 'stable');
});

test('a broken offer in the place of ours leaves ours taken back', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  b.addTransceiver('audio');
  await a.setLocalDescription();
  await assert.rejects(a.setRemoteDescription({ type: 'offer', sdp: 'mangled' }), named('OperationError'));
  assert.equal(a.signalingState, 'stable');
  await a.setRemoteDescription(await b.createOffer());
  assert.equal(a.signalingState, 'have-remote-offer');
});

test('rollback of a remote offer takes transceivers, tracks and streams away', async (t) => {
  const [a, b] = peers(t);
  const stream = await capture(t, 'audio', 'video');
  for (const track of stream.getTracks()) a.addTrack(track, stream);
  const told = [];
  b.ontrack = (event) => told.push(event);
  await b.setRemoteDescription(await a.createOffer());
  const [theirs] = told[0].streams;
  assert.equal(theirs.getTracks().length, 2);
  const [own] = b.getTransceivers();
  const seen = log(theirs, 'removetrack');
  await b.setRemoteDescription({ type: 'rollback' });
  assert.deepEqual(seen, ['removetrack', 'removetrack']);
  assert.deepEqual([b.getTransceivers(), own.mid, own.currentDirection, b.signalingState], [[], null, 'stopped', 'stable']);
  assert.equal(b.remoteDescription, null);
});

test('a rolled back transceiver stays when the application has put a track on it', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  await b.setRemoteDescription(await a.createOffer());
  b.addTrack(await media(t, 'audio'));
  await b.setRemoteDescription({ type: 'rollback' });
  assert.equal(b.getTransceivers().length, 1);
  assert.equal(b.getTransceivers()[0].mid, null);
});

test('rollback where nothing is pending', async (t) => {
  const [a, b] = peers(t);
  for (const call of ['setLocalDescription', 'setRemoteDescription']) {
    await assert.rejects(a[call]({ type: 'rollback' }), named('InvalidStateError'));
  }
  a.addTransceiver('audio');
  await a.setLocalDescription();
  await a.setLocalDescription({ type: 'rollback', sdp: '!<Invalid SDP Content>;' });
  assert.equal(a.signalingState, 'stable');
  await negotiate(a, b);
  await assert.rejects(a.setLocalDescription({ type: 'rollback' }), named('InvalidStateError'));
});

test('the gathering state follows a rollback', async (t) => {
  const [a] = peers(t, 1);
  a.addTransceiver('audio');
  assert.equal(a.iceGatheringState, 'new');
  await a.setLocalDescription();
  await reaches(a, 'iceGatheringState', 'complete');
  const changed = next(a, 'icegatheringstatechange');
  await a.setLocalDescription({ type: 'rollback' });
  await changed;
  assert.equal(a.iceGatheringState, 'new');
});

test('negotiationneeded: when it is fired, and how often', async (t) => {
  const [a, b] = peers(t);
  const seen = log(a, 'negotiationneeded');
  await turns(20);
  assert.deepEqual(seen, []);
  a.createDataChannel('');
  a.createDataChannel('');
  a.addTransceiver('audio');
  await turns(20);
  assert.equal(seen.length, 1);
  await negotiate(a, b);
  await turns(20);
  assert.equal(seen.length, 1);
  a.createDataChannel('');
  await turns(20);
  assert.equal(seen.length, 1);
  await a.setLocalDescription();
  a.addTransceiver('video');
  await turns(20);
  assert.equal(seen.length, 1);
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  await turns(20);
  assert.equal(seen.length, 2);
});

test('negotiationneeded comes after the state is stable and promises are settled', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  await a.setLocalDescription();
  a.addTransceiver('video');
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  const order = [];
  a.onsignalingstatechange = () => order.push('state');
  a.onnegotiationneeded = () => order.push('needed');
  await a.setRemoteDescription(b.localDescription).then(() => order.push('promise'));
  await turns(20);
  assert.deepEqual(order, ['state', 'promise', 'needed']);
});

test('restartIce: new credentials in the next offer, by either side', async (t) => {
  const { a, b } = await connected(t);
  const fragments = (own) => [own.localDescription, own.remoteDescription].map(({ sdp }) => /a=ice-ufrag:(\S+)/.exec(sdp)[1]);
  const before = fragments(a);
  const needed = next(a, 'negotiationneeded');
  a.restartIce();
  await needed;
  // An offer of the other side is no restart, and does not make ours superfluous.
  await negotiate(b, a);
  assert.deepEqual(fragments(a), before);
  await negotiate(a, b);
  const then = fragments(a);
  assert.notEqual(then[0], before[0]);
  assert.notEqual(then[1], before[1]);
  await negotiate(a, b);
  assert.deepEqual(fragments(a), then);
  assert.deepEqual(fragments(a), [...fragments(b)].reverse());
  a.close();
  a.restartIce();
});

test('createOffer with iceRestart, and after it is answered none', async (t) => {
  const [a, b] = peers(t);
  a.createDataChannel('');
  const fragment = ({ sdp }) => /a=ice-ufrag:(\S+)/.exec(sdp)[1];
  await negotiate(a, b);
  const first = fragment(a.localDescription);
  assert.equal(fragment(await a.createOffer()), first);
  const restarted = await a.createOffer({ iceRestart: true });
  assert.notEqual(fragment(restarted), first);
});

test('the legacy options of createOffer', async (t) => {
  const [a] = peers(t, 1);
  const count = ({ sdp }, kind) => (sdp.match(new RegExp(`^m=${kind}`, 'gm')) ?? []).length;
  assert.equal(count(await a.createOffer({ offerToReceiveAudio: false }), 'audio'), 0);
  const offer = await a.createOffer({ offerToReceiveAudio: true, offerToReceiveVideo: true });
  assert.deepEqual([count(offer, 'audio'), count(offer, 'video')], [1, 1]);
  assert.deepEqual(a.getTransceivers().map(({ direction }) => direction), ['recvonly', 'recvonly']);
  assert.equal(count(await a.createOffer({ offerToReceiveAudio: true }), 'audio'), 1);
  await a.createOffer({ offerToReceiveVideo: false });
  assert.equal(a.getTransceivers()[1].direction, 'inactive');
});

test('the legacy callbacks', async (t) => {
  const [a, b] = peers(t);
  const promise = (call) => new Promise((resolve, reject) => { assert.ok(call(resolve, reject) instanceof Promise); });
  a.createDataChannel('');
  const offer = await promise((done, failed) => a.createOffer(done, failed));
  await promise((done, failed) => a.setLocalDescription(offer, done, failed));
  await promise((done, failed) => b.setRemoteDescription(offer, done, failed));
  const answer = await promise((done, failed) => b.createAnswer(done, failed));
  await promise((done, failed) => b.setLocalDescription(answer, done, failed));
  const error = await promise((done, failed) => b.setRemoteDescription({ type: 'answer', sdp: '' }, failed, done));
  assert.equal(error.name, 'InvalidStateError');
});

test('configuration: sets that are refused', (t) => {
  const [a] = peers(t, 1, { bundlePolicy: 'max-bundle', iceCandidatePoolSize: 1 });
  assert.throws(() => a.setConfiguration({ bundlePolicy: 'max-compat' }), named('InvalidModificationError'));
  assert.throws(() => a.setConfiguration({ bundlePolicy: 'max-bundle', iceServers: [{ urls: 'bad:x' }] }), named('SyntaxError'));
  assert.throws(() => a.setConfiguration({ bundlePolicy: 'max-bundle', iceTransportPolicy: null }), TypeError);
  assert.throws(() => a.setConfiguration({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'negotiate' }), TypeError);
  a.setConfiguration({ bundlePolicy: 'max-bundle' });
  a.close();
  assert.throws(() => a.setConfiguration({}), named('InvalidStateError'));
  assert.equal(a.getConfiguration().bundlePolicy, 'max-bundle');
});

test('candidates: what is refused, and what is taken', async (t) => {
  const [a, b] = peers(t);
  const candidate = 'candidate:1905690388 1 udp 2113937151 192.0.2.7 58041 typ host generation 0 ufrag xyzw';
  a.createDataChannel('');
  await a.setLocalDescription();
  await assert.rejects(b.addIceCandidate({ candidate, sdpMid: '0' }), named('InvalidStateError'));
  await b.setRemoteDescription({ type: 'offer', sdp: a.localDescription.sdp.replace(/a=ice-ufrag:\S+/, 'a=ice-ufrag:xyzw') });
  for (const init of [{}, null, undefined, { candidate: '' }, { candidate: '', sdpMid: null, sdpMLineIndex: null }]) await b.addIceCandidate(init);
  await assert.rejects(b.addIceCandidate({ candidate, sdpMid: null, sdpMLineIndex: null }), TypeError);
  await assert.rejects(b.addIceCandidate('text'), TypeError);
  await assert.rejects(b.addIceCandidate({ candidate, sdpMid: 'invalid', sdpMLineIndex: 0 }), named('OperationError'));
  await assert.rejects(b.addIceCandidate({ candidate, sdpMLineIndex: 2 }), named('OperationError'));
  await assert.rejects(b.addIceCandidate({ candidate: 'invalid', sdpMid: '0' }), named('OperationError'));
  await assert.rejects(b.addIceCandidate({ candidate, sdpMid: '0', usernameFragment: 'other' }), named('OperationError'));
  await b.addIceCandidate({ candidate, sdpMid: '0', sdpMLineIndex: 99, usernameFragment: 'xyzw' });
  await b.addIceCandidate({ candidate: candidate.replace('192.0.2.7', '192.0.2.8'), sdpMLineIndex: 0 });
  assert.ok(b.remoteDescription.sdp.includes('192.0.2.7 58041'));
  await b.addIceCandidate({ candidate: candidate.replace(' 1 udp', ' 2 udp').replace('2113937151', '2113937150'), sdpMid: '0' });
});

test('states of a connection that is made', async (t) => {
  const [a, b] = peers(t);
  a.createDataChannel('');
  const states = { connection: [], ice: [], gathering: [] };
  a.onconnectionstatechange = () => states.connection.push(a.connectionState);
  a.oniceconnectionstatechange = () => states.ice.push(a.iceConnectionState);
  a.onicegatheringstatechange = () => states.gathering.push(a.iceGatheringState);
  assert.deepEqual([a.connectionState, a.iceConnectionState, a.iceGatheringState], ['new', 'new', 'new']);
  trickle(a, b);
  await negotiate(a, b);
  await reaches(a, 'connectionState', 'connected');
  if (a.iceGatheringState !== 'complete') await reaches(a, 'iceGatheringState', 'complete');
  assert.deepEqual(states.connection, ['connecting', 'connected']);
  assert.deepEqual(states.ice.slice(0, 2), ['checking', 'connected']);
  assert.deepEqual(states.gathering, ['gathering', 'complete']);
});

test('remote certificates', async (t) => {
  const { a, b } = await connected(t);
  for (const [own, other] of [[a, b], [b, a]]) {
    const [der, ...others] = own.sctp.transport.getRemoteCertificates();
    assert.equal(others.length, 0);
    assert.ok(der instanceof ArrayBuffer);
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', der)).toString('hex').match(/../g).join(':');
    assert.match(other.localDescription.sdp.toLowerCase(), new RegExp(`a=fingerprint:sha-256 ${digest}`));
  }
});

test('the transport of ICE', async (t) => {
  const { a, b } = await connected(t);
  for (const own of [a, b]) {
    const { iceTransport } = own.sctp.transport;
    assert.ok(['connected', 'completed'].includes(iceTransport.state));
    assert.ok(['controlling', 'controlled'].includes(iceTransport.role));
    const pair = iceTransport.getSelectedCandidatePair();
    assert.ok(pair.local instanceof RTCIceCandidate && pair.remote instanceof RTCIceCandidate);
    assert.equal(iceTransport.getSelectedCandidatePair(), pair);
    assert.ok(iceTransport.getLocalCandidates().length > 0 && iceTransport.getRemoteCandidates().length > 0);
    const { usernameFragment, password } = iceTransport.getLocalParameters();
    assert.ok(usernameFragment.length >= 4 && password.length >= 22);
  }
  assert.deepEqual(a.sctp.transport.iceTransport.getLocalParameters(), b.sctp.transport.iceTransport.getRemoteParameters());
});

test('certificates: dates, fingerprints and what is refused', async (t) => {
  const ecdsa = { name: 'ECDSA', namedCurve: 'P-256' };
  const [one, two] = [await RTCPeerConnection.generateCertificate(ecdsa), await RTCPeerConnection.generateCertificate({ ...ecdsa, expires: 0 })];
  const month = 30 * 24 * 3600 * 1000;
  assert.ok(Math.abs(one.expires - Date.now() - month) < 60_000);
  assert.throws(() => new RTCPeerConnection({ certificates: [two] }), named('InvalidAccessError'));
  await assert.rejects(RTCPeerConnection.generateCertificate('invalid-algo'), named('NotSupportedError'));
  await assert.rejects(RTCPeerConnection.generateCertificate({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }), TypeError);
  await assert.rejects(RTCPeerConnection.generateCertificate({ ...ecdsa, expires: -1 }), TypeError);
  await assert.rejects(RTCPeerConnection.generateCertificate(), TypeError);
  const [own] = peers(t, 1, { certificates: [one] });
  assert.equal(own.getConfiguration().certificates[0], one);
});

test('candidates have the fields of their line', async (t) => {
  const [a] = peers(t, 1);
  a.createDataChannel('');
  const told = next(a, 'icecandidate', ({ candidate }) => candidate?.candidate);
  await a.setLocalDescription();
  const { candidate } = await told;
  assert.deepEqual([candidate.component, candidate.type, candidate.sdpMid, candidate.sdpMLineIndex], ['rtp', 'host', '0', 0]);
  assert.match(a.localDescription.sdp, new RegExp(`a=ice-ufrag:${candidate.usernameFragment.replace(/[+/]/g, '\\$&')}`));
  assert.deepEqual(Object.keys(candidate.toJSON()).sort(), ['candidate', 'sdpMLineIndex', 'sdpMid', 'usernameFragment']);
});

test('tones: checks, and what the buffer holds', async (t) => {
  const { a } = await connected(t, async (own) => {
    own.addTrack(await media(t, 'audio'));
  });
  const [{ dtmf }] = a.getSenders();
  assert.equal(dtmf.canInsertDTMF, true);
  assert.throws(() => dtmf.insertDTMF('!'), named('InvalidCharacterError'));
  dtmf.insertDTMF('123', 40, 30);
  assert.equal(dtmf.toneBuffer, '123');
  const tones = [];
  const started = performance.now();
  for (let count = 0; count < 4; count += 1) tones.push((await next(dtmf, 'tonechange')).tone);
  assert.deepEqual(tones, ['1', '2', '3', '']);
  assert.ok(performance.now() - started > 180);
  assert.equal(dtmf.toneBuffer, '');
  a.getTransceivers()[0].stop();
  assert.equal(dtmf.canInsertDTMF, false);
  assert.throws(() => dtmf.insertDTMF('1'), named('InvalidStateError'));
});

test('tones go out as events in the stream of the sender', async (t) => {
  const { a } = await connected(t, (own) => {
    own.addTransceiver(nonstandard.createTrack('audio'));
  });
  const [sender] = a.getSenders();
  sender.dtmf.insertDTMF('1', 100, 30);
  for (let sent = 0; sent < 4;) {
    await turns(10);
    const stream = [...(await sender.getStats()).values()].find(({ type }) => type === 'outbound-rtp');
    sent = stream?.packetsSent ?? 0;
  }
});

test('a local description has the candidates of which events have told, and no others', async (t) => {
  const [own] = peers(t, 1);
  own.createDataChannel('');
  const listed = () => [...own.localDescription.sdp.matchAll(/^a=(candidate:.*)\r$/gm)].map(([, text]) => text);
  const told = [];
  const complete = new Promise((resolve) => {
    own.onicecandidate = ({ candidate }) => {
      if (candidate === null) resolve();
      else if (candidate.candidate !== '') told.push(candidate.candidate);
      assert.deepEqual(listed(), told);
      assert.deepEqual(own.sctp?.transport.iceTransport.getLocalCandidates().map((each) => each.candidate) ?? told, told);
      assert.equal(own.localDescription.sdp.includes('a=end-of-candidates'), candidate === null || candidate.candidate === '');
    };
  });
  await own.setLocalDescription();
  assert.deepEqual([listed(), told], [[], []]);
  await complete;
  assert.ok(told.length > 0);
});

test('a restart of ICE replaces the credentials that there are', async (t) => {
  const [a, b] = peers(t);
  const fragment = (own) => /a=ice-ufrag:(\S+)/.exec((own.localDescription ?? own).sdp)[1];
  const wanted = log(a, 'negotiationneeded');
  // There are none yet.
  a.restartIce();
  await settled(new Promise(() => {}));
  assert.deepEqual(wanted, []);
  a.addTransceiver('audio');
  await next(a, 'negotiationneeded');
  trickle(a, b);
  // Those of an offer that is on its way count.
  await a.setLocalDescription();
  a.restartIce();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  const first = fragment(a);
  const again = next(a, 'negotiationneeded');
  await a.setRemoteDescription(b.localDescription);
  await again;
  await negotiate(a, b);
  const second = fragment(a);
  assert.notEqual(second, first);
  await reaches(a, 'connectionState', 'connected');
  // One offer with new credentials, of which nothing comes.
  assert.notEqual(fragment(await a.createOffer({ iceRestart: true })), second);
  assert.equal(fragment(await a.createOffer()), second);
  await settled(new Promise(() => {}));
  assert.deepEqual(wanted, ['negotiationneeded', 'negotiationneeded']);
  // And one of which something comes.
  await a.setLocalDescription(await a.createOffer({ iceRestart: true }));
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  assert.notEqual(fragment(a), second);
  await reaches(a, 'connectionState', 'connected');
});
