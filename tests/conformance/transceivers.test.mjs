/** Transceivers, senders and receivers, as webrtc-pc §5 has them. */

import assert from 'node:assert/strict';
import { capture, connected, log, media, negotiate, next, peers, reaches, settled, test, trickle } from './page.mjs';

const turns = () => new Promise((resolve) => { setTimeout(resolve, 0); });
const named = (name) => ({ name });

test('addTransceiver makes a muted live receiver and a sender without a track', (t) => {
  const [pc] = peers(t, 1);
  const made = ['audio', 'video'].map((kind) => pc.addTransceiver(kind));
  assert.deepEqual(pc.getTransceivers(), made);
  for (const own of made) {
    assert.deepEqual([own.receiver.track.readyState, own.receiver.track.muted, own.sender.track], ['live', true, null]);
    assert.deepEqual([own.direction, own.mid, own.currentDirection], ['sendrecv', null, null]);
    assert.equal(own.sender, own.sender);
    assert.equal(own.receiver.track, own.receiver.track);
  }
});

test('a remote offer that sends makes a receiving transceiver and a track event', async (t) => {
  const [a, b] = peers(t);
  const stream = await capture(t, 'audio');
  a.addTransceiver(stream.getTracks()[0], { streams: [stream] });
  const told = [];
  b.ontrack = (event) => told.push(event);
  await b.setRemoteDescription(await a.createOffer());
  const [own] = b.getTransceivers();
  assert.equal(told.length, 1);
  assert.deepEqual([told[0].track, told[0].streams[0].id], [own.receiver.track, stream.id]);
  assert.deepEqual([own.direction, own.currentDirection, own.sender.track], ['recvonly', null, null]);
});

test('an offer without an identification of its sections, and an answer without', async (t) => {
  const [a, b] = peers(t);
  a.addTrack(await media(t, 'audio'));
  const offer = await a.createOffer();
  await a.setLocalDescription(offer);
  await b.setRemoteDescription({ type: 'offer', sdp: offer.sdp.replace('a=mid:', 'a=unknownattr:') });
  assert.equal(typeof b.getTransceivers()[0].mid, 'string');
  const answer = await b.createAnswer();
  await b.setLocalDescription(answer);
  const sdp = answer.sdp.replace('a=mid:', 'a=unknownattr:').replace('a=group:', 'a=unknownattr:');
  await a.setRemoteDescription({ type: 'answer', sdp });
  assert.equal(a.getTransceivers()[0].currentDirection, 'sendonly');
  await a.setLocalDescription(await a.createOffer());
});

test('msid without the id of a track', async (t) => {
  const [a, b] = peers(t);
  const stream = await capture(t, 'audio');
  a.addTrack(stream.getTracks()[0], stream);
  const offer = await a.createOffer();
  await a.setLocalDescription(offer);
  await b.setRemoteDescription({ type: 'offer', sdp: offer.sdp.replace(/(a=msid:[^ \t]+).*\r\n/g, '$1\r\n') });
  const answer = await b.createAnswer();
  await b.setLocalDescription(answer);
  await a.setRemoteDescription(answer);
});

test('transceivers of addTransceiver are not paired with a remote section', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  b.addTransceiver(await media(t, 'audio'));
  await b.setRemoteDescription(await a.createOffer());
  assert.equal(b.getTransceivers()[0].mid, null);
  assert.equal(typeof b.getTransceivers()[1].mid, 'string');
});

test('those of addTrack are, even when the track was taken away or replaced since', async (t) => {
  const [a, b] = peers(t);
  a.addTransceiver('audio');
  a.addTransceiver('audio');
  const sender = b.addTrack(await media(t, 'audio'));
  b.removeTrack(sender);
  const other = b.addTransceiver('audio');
  other.direction = 'inactive';
  await b.setRemoteDescription(await a.createOffer());
  const all = b.getTransceivers();
  assert.equal(all.length, 3);
  assert.equal(all[0].sender, sender);
  assert.equal(typeof all[0].mid, 'string');
  assert.equal(all[1].mid, null);
});

test('directions of a rejected and of a one-way offer', async (t) => {
  for (const [offered, theirs, ours, agreed] of [
    ['sendrecv', 'sendrecv', 'sendrecv', ['sendrecv', 'sendrecv']],
    ['sendonly', 'sendrecv', 'sendonly', ['sendonly', 'recvonly']],
    ['recvonly', 'sendrecv', 'recvonly', ['recvonly', 'sendonly']],
    ['inactive', 'sendrecv', 'inactive', ['inactive', 'inactive']],
    ['sendrecv', 'recvonly', 'sendrecv', ['sendonly', 'recvonly']],
    ['sendrecv', 'inactive', 'sendrecv', ['inactive', 'inactive']],
  ]) {
    const [a, b] = peers(t);
    const one = a.addTransceiver('audio', { direction: offered });
    b.addTrack(await media(t, 'audio'));
    await a.setLocalDescription();
    await b.setRemoteDescription(a.localDescription);
    const two = b.getTransceivers().find(({ mid }) => mid !== null);
    two.direction = theirs;
    await b.setLocalDescription();
    assert.equal(two.currentDirection, agreed[1]);
    await a.setRemoteDescription(b.localDescription);
    assert.deepEqual([one.direction, one.currentDirection], [ours, agreed[0]]);
  }
});

test('direction: what it takes, and when it asks for a negotiation', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver('audio');
  assert.throws(() => { own.direction = 'stopped'; }, TypeError);
  own.direction = 'nonsense';
  assert.equal(own.direction, 'sendrecv');
  await next(a, 'negotiationneeded');
  await negotiate(a, b);
  own.direction = 'recvonly';
  await next(a, 'negotiationneeded');
  assert.deepEqual([own.direction, own.currentDirection], ['recvonly', 'sendonly']);
});

test('stop: immediate for direction, by negotiation for the rest', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver(await media(t, 'audio'));
  await negotiate(a, b);
  const ended = next(own.receiver.track, 'ended');
  const [theirs] = b.getTransceivers();
  own.stop();
  assert.equal(own.receiver.track.readyState, 'live');
  assert.deepEqual([own.direction, own.currentDirection], ['stopped', 'sendonly']);
  await ended;
  assert.equal(a.getTransceivers().length, 1);
  assert.equal(a.getSenders().length, 1);
  await a.setLocalDescription();
  assert.match(a.localDescription.sdp, /m=audio 0 /);
  assert.equal(own.currentDirection, 'sendonly');
  await b.setRemoteDescription(a.localDescription);
  assert.deepEqual([theirs.direction, theirs.currentDirection], ['stopped', 'stopped']);
  assert.deepEqual([b.getSenders(), b.getReceivers()], [[], []]);
  await b.setLocalDescription();
  assert.equal(b.getTransceivers().length, 0);
  assert.equal(theirs.mid, null);
  await a.setRemoteDescription(b.localDescription);
  assert.deepEqual([own.direction, own.currentDirection, own.mid], ['stopped', 'stopped', null]);
  assert.equal(a.getTransceivers().length, 0);
  own.stop();
  assert.throws(() => { own.direction = 'sendrecv'; }, named('InvalidStateError'));
});

test('a stopped transceiver before any negotiation', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver('audio');
  own.stop();
  assert.equal(own.direction, 'stopped');
  assert.throws(() => own.setCodecPreferences([]), named('InvalidStateError'));
  await assert.rejects(own.sender.replaceTrack(null), named('InvalidStateError'));
  const offer = await a.createOffer();
  assert.doesNotMatch(offer.sdp, /m=audio/);
  await a.setLocalDescription(offer);
  assert.equal(own.currentDirection, 'stopped');
  assert.equal(a.getTransceivers().length, 0);
  await b.setRemoteDescription(offer);
});

test('a section is used again after its transceiver was stopped', async (t) => {
  const [a, b] = peers(t);
  const [one, two] = ['audio', 'video'].map((kind) => a.addTransceiver(kind));
  await negotiate(a, b);
  const { mid } = one;
  one.stop();
  await negotiate(a, b);
  const three = a.addTransceiver('audio');
  await negotiate(a, b);
  assert.equal((a.localDescription.sdp.match(/^m=/gm) ?? []).length, 2);
  assert.notEqual(three.mid, mid);
  assert.equal(a.getTransceivers()[0], two);
});

test('close stops all transceivers', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver('audio');
  await negotiate(a, b);
  a.close();
  assert.deepEqual([own.direction, own.currentDirection], ['stopped', 'stopped']);
  assert.deepEqual([a.getTransceivers(), a.getSenders(), a.getReceivers()], [[], [], []]);
  assert.throws(() => own.stop(), named('InvalidStateError'));
  assert.throws(() => { own.direction = 'recvonly'; }, named('InvalidStateError'));
});

test('addTrack uses a transceiver that never sent', async (t) => {
  const [a, b] = peers(t);
  b.addTransceiver('video', { direction: 'sendonly' });
  await negotiate(b, a);
  const [own] = a.getTransceivers();
  const track = await media(t, 'video');
  const sender = a.addTrack(track);
  assert.equal(sender, own.sender);
  assert.deepEqual([own.direction, own.currentDirection], ['sendrecv', 'recvonly']);
  a.removeTrack(sender);
  assert.equal(own.direction, 'recvonly');
  assert.equal(sender.track, null);
});

test('addTrack: what it refuses', async (t) => {
  const [a, other] = peers(t);
  const track = await media(t, 'audio');
  const sender = a.addTrack(track);
  assert.throws(() => a.addTrack(track), named('InvalidAccessError'));
  assert.throws(() => a.addTrack(), TypeError);
  assert.throws(() => a.addTrack(track, {}), TypeError);
  assert.throws(() => other.removeTrack(sender), named('InvalidAccessError'));
  a.removeTrack(sender);
  a.removeTrack(sender);
  a.close();
  assert.throws(() => a.addTrack(track), named('InvalidStateError'));
  assert.throws(() => a.removeTrack(sender), named('InvalidStateError'));
  assert.throws(() => a.addTransceiver('audio'), named('InvalidStateError'));
});

test('replaceTrack: of another kind, with null, and before any negotiation', async (t) => {
  const [a] = peers(t, 1);
  const [audio, other, video] = [await media(t, 'audio'), await media(t, 'audio'), await media(t, 'video')];
  const { sender } = a.addTransceiver(audio);
  await assert.rejects(sender.replaceTrack(video), TypeError);
  assert.equal(sender.track, audio);
  await sender.replaceTrack(other);
  assert.equal(sender.track, other);
  const pending = sender.replaceTrack(null);
  await pending;
  assert.equal(sender.track, null);
  a.close();
  await assert.rejects(sender.replaceTrack(audio), named('InvalidStateError'));
});

test('setStreams: asks for a negotiation, and is seen by the other side', async (t) => {
  const [a, b] = peers(t);
  const { sender } = a.addTransceiver(await media(t, 'audio'));
  const told = next(b, 'track');
  await negotiate(a, b);
  const { track } = await told;
  const stream = new MediaStream();
  await turns();
  sender.setStreams(stream, stream);
  await next(a, 'negotiationneeded');
  const again = next(b, 'track');
  await negotiate(a, b);
  assert.equal(b.getTransceivers()[0].receiver.track, track);
  // The track is fired once only; what changes is what it is part of.
  assert.equal(await settled(again), 'pending');
  a.close();
  assert.throws(() => sender.setStreams(), named('InvalidStateError'));
});

test('setCodecPreferences: checks, and what descriptions make of it', async (t) => {
  const [a, b] = peers(t);
  const own = a.addTransceiver('video');
  const { codecs } = RTCRtpReceiver.getCapabilities('video');
  own.setCodecPreferences([]);
  own.setCodecPreferences(codecs);
  own.setCodecPreferences([...codecs].reverse());
  own.setCodecPreferences([codecs[0], codecs[0]]);
  const refused = (list) => assert.throws(() => own.setCodecPreferences(list), named('InvalidModificationError'));
  refused(RTCRtpReceiver.getCapabilities('audio').codecs);
  refused([{ ...codecs[0], clockRate: codecs[0].clockRate / 2 }]);
  refused([{ ...codecs[0], mimeType: 'video/unknown' }]);
  refused([{ ...codecs[0], sdpFmtpLine: 'modified' }]);
  refused(codecs.filter(({ mimeType }) => /rtx|red|ulpfec/.test(mimeType)));
  const vp8 = codecs.filter(({ mimeType }) => mimeType === 'video/VP8');
  own.setCodecPreferences(vp8);
  const { sdp } = await a.createOffer();
  assert.deepEqual([...sdp.matchAll(/a=rtpmap:\d+ (\w+)/g)].map((match) => match[1]), ['VP8']);
  await negotiate(a, b);
  assert.deepEqual(own.sender.getParameters().codecs.map(({ mimeType }) => mimeType), ['video/VP8']);
});

test('capabilities', () => {
  for (const Interface of [RTCRtpSender, RTCRtpReceiver]) {
    assert.equal(Interface.getCapabilities('dummy'), null);
    for (const kind of ['audio', 'video']) {
      const { codecs, headerExtensions } = Interface.getCapabilities(kind);
      assert.ok(codecs.length > 0);
      for (const { mimeType, clockRate } of codecs) {
        assert.ok(mimeType.startsWith(`${kind}/`));
        assert.ok(clockRate > 0);
      }
      const keys = codecs.map((codec) => JSON.stringify(codec));
      assert.equal(new Set(keys).size, keys.length);
      assert.ok(headerExtensions.every(({ uri }) => typeof uri === 'string'));
    }
  }
  const video = RTCRtpSender.getCapabilities('video').codecs.map(({ mimeType }) => mimeType.toLowerCase());
  for (const name of ['video/vp8', 'video/h264', 'video/rtx', 'video/red', 'video/ulpfec']) assert.ok(video.includes(name), name);
  const audio = RTCRtpSender.getCapabilities('audio').codecs.map(({ mimeType }) => mimeType.toLowerCase());
  for (const name of ['audio/opus', 'audio/pcmu', 'audio/pcma', 'audio/telephone-event']) assert.ok(audio.includes(name), name);
});

test('remote tracks are unmuted by media, and muted when it is taken away', async (t) => {
  const { a, b } = await connected(t, async (own) => {
    own.addTrack(await media(t, 'audio'));
  });
  const { track } = b.getReceivers()[0];
  if (track.muted) await next(track, 'unmute');
  const muted = next(track, 'mute');
  a.getTransceivers()[0].direction = 'inactive';
  await negotiate(a, b);
  await muted;
  assert.equal(track.muted, true);
  // The same stream goes on where it ended.
  const unmuted = next(track, 'unmute');
  a.getTransceivers()[0].direction = 'sendrecv';
  await negotiate(a, b);
  await unmuted;
});

test('mute comes before the promise, with removal from the streams', async (t) => {
  const [a, b] = peers(t);
  const stream = await capture(t, 'audio');
  const sender = a.addTrack(stream.getTracks()[0], stream);
  const told = next(b, 'track');
  await negotiate(a, b);
  const { streams: [theirs], track } = await told;
  a.removeTrack(sender);
  const seen = log(theirs, 'removetrack');
  await b.setRemoteDescription(await a.createOffer());
  assert.deepEqual(seen, ['removetrack']);
  assert.deepEqual([theirs.getTracks(), theirs.active, track.readyState], [[], false, 'live']);
});

test('sources that were heard are listed', async (t) => {
  const { b } = await connected(t, async (own) => {
    own.addTrack(await media(t, 'audio'));
    own.addTrack(await media(t, 'video'));
  });
  for (const receiver of b.getReceivers()) {
    if (receiver.track.muted) await next(receiver.track, 'unmute');
    const [source, ...others] = receiver.getSynchronizationSources();
    assert.equal(others.length, 0);
    assert.ok(Number.isInteger(source.source) && Number.isInteger(source.rtpTimestamp));
    assert.ok(Math.abs(source.timestamp - performance.timeOrigin - performance.now()) < 10_000);
    assert.deepEqual(receiver.getContributingSources(), []);
  }
});

test('transports of senders and receivers', async (t) => {
  const [a, b] = peers(t, 2, { bundlePolicy: 'max-bundle' });
  const [audio, video] = ['audio', 'video'].map((kind) => a.addTransceiver(kind));
  assert.deepEqual([audio.sender.transport, audio.receiver.transport], [null, null]);
  await a.setLocalDescription();
  const { transport } = audio.sender;
  assert.ok(transport instanceof RTCDtlsTransport && transport.iceTransport instanceof RTCIceTransport);
  assert.equal(video.receiver.transport, transport);
  await b.setRemoteDescription(a.localDescription);
  assert.equal(b.getSenders()[0].transport, null);
  await b.setLocalDescription();
  assert.ok(b.getSenders()[0].transport instanceof RTCDtlsTransport);
  await a.setLocalDescription;
  assert.equal(audio.sender.transport, transport);
});

test('rollback of a local offer takes the transport and mid back', async (t) => {
  const [a] = peers(t, 1);
  const own = a.addTransceiver('audio');
  await a.setLocalDescription();
  assert.notEqual(own.sender.transport, null);
  await a.setLocalDescription({ type: 'rollback' });
  assert.deepEqual([own.mid, own.sender.transport], [null, null]);
  trickle(a, a);
});

test('streams of the other side stay the same objects through rollbacks and removals', async (t) => {
  const [a, b] = peers(t);
  const stream = await capture(t, 'audio', 'video');
  for (const track of stream.getTracks()) a.addTrack(track, stream);
  const told = next(b, 'track');
  const offer = await a.createOffer();
  await b.setRemoteDescription(offer);
  const [remote] = (await told).streams;
  const seen = log(remote, 'addtrack', 'removetrack');
  const both = (type) => {
    assert.deepEqual(seen.splice(0), [type, type]);
    return remote.getTracks().length;
  };
  await b.setRemoteDescription({ type: 'rollback' });
  assert.equal(both('removetrack'), 0);
  await b.setRemoteDescription(offer);
  assert.equal(both('addtrack'), 2);
  await a.setLocalDescription(offer);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  for (const sender of a.getSenders()) a.removeTrack(sender);
  await b.setRemoteDescription(await a.createOffer());
  assert.equal(both('removetrack'), 0);
  await b.setRemoteDescription({ type: 'rollback' });
  assert.equal(both('addtrack'), 2);
});

test('who stops a transceiver after the answer was created connects all the same', async (t) => {
  const [a, b] = peers(t);
  const stream = await capture(t, 'audio');
  for (const own of [a, b]) own.addTrack(stream.getTracks()[0], stream);
  trickle(a, b);
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  const answer = await b.createAnswer();
  const [stopped] = b.getTransceivers();
  stopped.stop();
  const wanted = next(b, 'negotiationneeded');
  await a.setRemoteDescription(answer);
  await b.setLocalDescription(answer);
  await wanted;
  await Promise.all([a, b].map((own) => reaches(own, 'connectionState', 'connected')));
  await negotiate(a, b);
  assert.deepEqual([a.getTransceivers(), b.getTransceivers()], [[], []]);
  assert.equal(stopped.currentDirection, 'stopped');
});

test('a candidate belongs to the credentials of its own section', async (t) => {
  const [a, b] = peers(t);
  for (const kind of ['audio', 'video']) a.addTransceiver(kind);
  const { type, sdp } = await a.createOffer();
  const at = sdp.indexOf('m=video');
  const mine = /a=ice-ufrag:(\S+)/.exec(sdp)[1];
  await b.setRemoteDescription({ type, sdp: sdp.slice(0, at) + sdp.slice(at).replace(/(a=ice-ufrag:)\S+/, '$1another') });
  const candidate = 'candidate:1 1 udp 2113929471 203.0.113.100 10100 typ host';
  const add = (sdpMLineIndex, usernameFragment) => b.addIceCandidate({ candidate, sdpMLineIndex, usernameFragment });
  for (const [index, fragment] of [[0, mine], [1, 'another'], [0, null], [1, null]]) await add(index, fragment);
  for (const [index, fragment] of [[0, 'another'], [1, mine], [0, 'none']]) {
    await assert.rejects(add(index, fragment), { name: 'OperationError' });
  }
});
