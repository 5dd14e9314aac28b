import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RTCPeerConnection, RTCSessionDescription, nonstandard } from '../lib/index.js';
import { negotiate, once, pair, record, trickle } from './pair.mjs';

const states = (own) => {
  const seen = [];
  own.addEventListener('signalingstatechange', () => seen.push(own.signalingState));
  return seen;
};

test('descriptions are pending, then current', async (t) => {
  const [a, b] = pair(t);
  a.createDataChannel('');
  const offer = await a.createOffer();
  assert.equal(offer.type, 'offer');
  assert.equal(a.localDescription, null);
  await a.setLocalDescription(offer);
  assert.ok(a.pendingLocalDescription instanceof RTCSessionDescription);
  assert.equal(a.currentLocalDescription, null);
  await b.setRemoteDescription(offer);
  assert.equal(b.pendingRemoteDescription.sdp, offer.sdp);
  assert.equal(b.canTrickleIceCandidates, true);
  const answer = await b.createAnswer();
  await b.setLocalDescription(answer);
  await a.setRemoteDescription(answer);
  assert.equal(a.pendingLocalDescription, null);
  assert.equal(a.currentLocalDescription.type, 'offer');
  assert.equal(a.currentRemoteDescription.type, 'answer');
  assert.deepEqual([a.signalingState, b.signalingState], ['stable', 'stable']);
});

test('a provisional answer comes before the answer', async (t) => {
  const [a, b] = pair(t);
  a.createDataChannel('');
  const seen = [states(a), states(b)];
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  const answer = await b.createAnswer();
  await b.setLocalDescription({ type: 'pranswer', sdp: answer.sdp });
  await a.setRemoteDescription({ type: 'pranswer', sdp: answer.sdp });
  assert.deepEqual([a.signalingState, b.signalingState], ['have-remote-pranswer', 'have-local-pranswer']);
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(b.localDescription);
  assert.deepEqual(seen, [
    ['have-local-offer', 'have-remote-pranswer', 'stable'],
    ['have-remote-offer', 'have-local-pranswer', 'stable'],
  ]);
});

test('rollback takes back either side\'s offer, and nothing else', async (t) => {
  const [a, b] = pair(t);
  await assert.rejects(a.setLocalDescription({ type: 'rollback' }), { name: 'InvalidStateError' });
  const transceiver = a.addTransceiver('audio');
  await a.setLocalDescription();
  assert.equal(transceiver.mid, '0');
  await b.setRemoteDescription(a.localDescription);
  assert.equal(b.getTransceivers().length, 1);
  await a.setLocalDescription({ type: 'rollback', sdp: 'ignored' });
  assert.equal(transceiver.mid, null);
  assert.deepEqual(a.getTransceivers(), [transceiver]);
  await b.setRemoteDescription({ type: 'rollback' });
  assert.deepEqual([b.signalingState, b.remoteDescription, b.getTransceivers()], ['stable', null, []]);
  await assert.rejects(b.setRemoteDescription({ type: 'rollback' }), { name: 'InvalidStateError' });
});

test('what the state forbids is refused before the task ends', async (t) => {
  const [a] = pair(t);
  const refusals = [
    a.createAnswer(),
    a.setLocalDescription({ type: 'rollback' }),
    a.setRemoteDescription({ type: 'rollback' }),
    a.addIceCandidate({ candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMid: '0' }),
  ];
  let count = 0;
  for (const refusal of refusals) refusal.catch(() => (count += 1));
  const next = new Promise((resolve) => setImmediate(resolve));
  // Microtasks alone: a task of the event loop would come later.
  for (let i = 0; i < 60; i += 1) await null;
  assert.equal(count, refusals.length);
  await next;
});

test('an offer that meets ours rolls ours back, even where it is malformed', async (t) => {
  const [a, b] = pair(t);
  a.addTransceiver('audio');
  b.addTransceiver('video');
  await a.setLocalDescription();
  await b.setLocalDescription();
  const seen = states(b);
  await b.setRemoteDescription(a.localDescription);
  assert.deepEqual(seen, ['stable', 'have-remote-offer']);
  await assert.rejects(a.setRemoteDescription({ type: 'offer', sdp: 'nonsense' }), (error) => {
    assert.equal(error.name, 'OperationError');
    assert.equal(error.errorDetail, 'sdp-syntax-error');
    assert.ok(error.sdpLineNumber >= 1);
    return true;
  });
  assert.deepEqual([a.signalingState, a.pendingLocalDescription], ['stable', null]);
});

test('what does not fit the state is refused, and changes nothing', async (t) => {
  const [a, b] = pair(t);
  a.addTransceiver('audio');
  await assert.rejects(a.createAnswer(), { name: 'InvalidStateError' });
  await assert.rejects(a.setLocalDescription({ type: 'answer', sdp: 'any' }), { name: 'InvalidStateError' });
  const offer = await a.createOffer();
  await assert.rejects(a.setRemoteDescription({ type: 'answer', sdp: offer.sdp }), { name: 'InvalidStateError' });
  await assert.rejects(
    a.setLocalDescription({ type: 'offer', sdp: offer.sdp.replace('a=mid:0', 'a=mid:7') }),
    { name: 'InvalidModificationError' },
  );
  await assert.rejects(a.setRemoteDescription({ type: 'proposal', sdp: '' }), TypeError);
  await assert.rejects(a.setRemoteDescription(), TypeError);
  await b.setRemoteDescription(offer);
  await assert.rejects(b.createOffer(), { name: 'InvalidStateError' });
  assert.equal(a.signalingState, 'stable');
  a.close();
  await assert.rejects(a.createOffer(), { name: 'InvalidStateError' });
  await assert.rejects(a.setLocalDescription(), { name: 'InvalidStateError' });
});

test('negotiationneeded is told once, when it is due and nothing is under way', async (t) => {
  const [a, b] = pair(t);
  const seen = record(a, ['negotiationneeded']);
  const first = once(a, 'negotiationneeded');
  a.addTransceiver('audio');
  a.addTransceiver('video');
  assert.deepEqual(seen, []);
  await first;
  assert.equal(seen.length, 1);
  await a.setLocalDescription();
  a.createDataChannel('while our offer is pending');
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  assert.equal(seen.length, 1);
  const second = once(a, 'negotiationneeded');
  await a.setRemoteDescription(b.localDescription);
  await second;
  const third = once(a, 'negotiationneeded');
  await negotiate(a, b);
  a.restartIce();
  await third;
  assert.equal(seen.length, 3);
});

test('perfect negotiation converges when both begin at once', async (t) => {
  const [a, b] = pair(t);
  const side = (own, other, polite) => {
    const my = { making: false, ignoring: false };
    own.onnegotiationneeded = async () => {
      my.making = true;
      await own.setLocalDescription();
      my.making = false;
      other.take({ description: own.localDescription });
    };
    own.onicecandidate = ({ candidate }) => other.take({ candidate });
    own.take = async ({ description, candidate }) => {
      if (own.signalingState === 'closed') return;
      if (description) {
        const collides = description.type === 'offer' && (my.making || own.signalingState !== 'stable');
        my.ignoring = !polite && collides;
        if (my.ignoring) return;
        await own.setRemoteDescription(description);
        if (description.type === 'offer') {
          await own.setLocalDescription();
          other.take({ description: own.localDescription });
        }
      } else {
        await own.addIceCandidate(candidate).catch((error) => {
          if (!my.ignoring) throw error;
        });
      }
    };
  };
  side(a, b, true);
  side(b, a, false);
  const channels = [once(a, 'datachannel'), once(b, 'datachannel')];
  a.createDataChannel('from a');
  a.addTransceiver('audio');
  b.createDataChannel('from b');
  b.addTransceiver('video');
  const [toA, toB] = await Promise.all(channels);
  assert.deepEqual([toA.channel.label, toB.channel.label], ['from b', 'from a']);
});

test('a restart of ICE selects another pair, and says so', async (t) => {
  const [a, b] = pair(t);
  trickle(a, b);
  a.createDataChannel('');
  const connected = once(a, 'connectionstatechange', () => a.connectionState === 'connected');
  await negotiate(a, b);
  await connected;
  const { iceTransport } = a.sctp.transport;
  const before = iceTransport.getSelectedCandidatePair();
  assert.equal(iceTransport.getSelectedCandidatePair(), before);
  const fragment = iceTransport.getLocalParameters().usernameFragment;
  assert.equal(before.local.usernameFragment, fragment);
  const changed = once(iceTransport, 'selectedcandidatepairchange');
  a.restartIce();
  await negotiate(a, b);
  await changed;
  const after = iceTransport.getSelectedCandidatePair();
  assert.notEqual(after, before);
  assert.notEqual(after.local.usernameFragment, fragment);
  assert.equal(after.remote.usernameFragment, b.sctp.transport.iceTransport.getLocalParameters().usernameFragment);
  const changes = async () => [...(await a.getStats()).values()].find(({ type }) => type === 'transport').selectedCandidatePairChanges;
  assert.ok((await changes()) >= 2);
});

test('states and events go the specified way until close', async (t) => {
  const [a, b] = pair(t);
  trickle(a, b);
  const seen = [];
  for (const type of ['connectionstatechange', 'iceconnectionstatechange', 'icegatheringstatechange']) {
    a.addEventListener(type, () => seen.push(a[type.replace('change', '').replace(/state$/, 'State')
      .replace('icec', 'iceC').replace('iceg', 'iceG')]));
  }
  a.createDataChannel('');
  const connected = once(a, 'connectionstatechange', () => a.connectionState === 'connected');
  const gathered = once(a, 'icecandidate', ({ candidate }) => candidate === null);
  await negotiate(a, b);
  await Promise.all([connected, gathered]);
  assert.ok(seen.indexOf('gathering') < seen.indexOf('complete'));
  assert.ok(seen.indexOf('checking') < seen.indexOf('connected'));
  assert.ok(seen.indexOf('connecting') < seen.lastIndexOf('connected'));
  const transport = a.sctp.transport;
  assert.equal(transport.state, 'connected');
  const selected = transport.iceTransport.getSelectedCandidatePair();
  assert.equal(selected.local.protocol, 'udp');
  assert.ok(transport.iceTransport.getLocalCandidates().length > 0);
  const count = seen.length;
  a.close();
  a.close();
  assert.deepEqual([a.signalingState, a.connectionState, a.iceConnectionState], ['closed', 'closed', 'closed']);
  assert.deepEqual([transport.state, transport.iceTransport.state, a.sctp.state], ['closed', 'closed', 'closed']);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(seen.length, count);
});

test('a connection that was only made does not keep the process', async () => {
  const { execFile } = await import('node:child_process');
  const library = new URL('../lib/index.js', import.meta.url).href;
  const script = `
    const { RTCPeerConnection } = await import('${library}');
    new RTCPeerConnection().createDataChannel('');
    const closed = new RTCPeerConnection();
    closed.addTransceiver('audio');
    await closed.setLocalDescription();
    closed.close();
    console.log('end');
  `;
  const text = await new Promise((resolve, reject) => {
    execFile(process.execPath, ['--input-type=module', '-e', script], (error, out) => (error ? reject(error) : resolve(out)));
  });
  assert.equal(text, 'end\n');
});

test('descriptions without sections need no transport', async (t) => {
  const [a, b] = pair(t);
  const seen = record(a, ['icegatheringstatechange', 'icecandidate']);
  await negotiate(a, b);
  assert.deepEqual([a.signalingState, b.signalingState, a.sctp], ['stable', 'stable', null]);
  const gathered = once(a, 'icegatheringstatechange', () => a.iceGatheringState === 'complete');
  a.createDataChannel('');
  assert.deepEqual(seen, []);
  await a.setLocalDescription();
  await gathered;
});

test('callbacks in place of promises', async (t) => {
  const [a] = pair(t);
  const offer = await new Promise((resolve, reject) => a.createOffer(resolve, reject, { offerToReceiveAudio: true }));
  assert.match(offer.sdp, /m=audio/);
  await new Promise((resolve, reject) => a.setLocalDescription(offer, resolve, reject));
  const error = await new Promise((resolve) => a.createAnswer(() => assert.fail('answered'), resolve));
  assert.equal(error.name, 'InvalidStateError');
  assert.ok(a instanceof RTCPeerConnection);
});

test('addresses that are hidden are told by name', async (t) => {
  nonstandard.configure({ loopbackCandidates: true, hideHostAddresses: true });
  const a = new RTCPeerConnection();
  nonstandard.configure({ loopbackCandidates: true });
  const b = new RTCPeerConnection();
  t.after(() => [a, b].forEach((own) => own.close()));
  trickle(a, b);
  const [ofA, ofB] = [a, b].map((own) => {
    const told = [];
    own.addEventListener('icecandidate', ({ candidate }) => told.push(candidate));
    return told;
  });
  const opened = once(a.createDataChannel(''), 'open');
  await negotiate(a, b);
  await opened;
  const hosts = (told) => told.filter((candidate) => candidate?.type === 'host');
  const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local$/;
  assert.ok(hosts(ofA).length > 0 && hosts(ofB).length > 0);
  for (const candidate of hosts(ofA)) assert.match(candidate.address, uuid);
  for (const candidate of hosts(ofB)) assert.doesNotMatch(candidate.address, uuid);
  assert.doesNotMatch(a.localDescription.sdp, / 127\.0\.0\.1 \d+ typ host/);
  assert.match(b.localDescription.sdp, / 127\.0\.0\.1 \d+ typ host/);
});
