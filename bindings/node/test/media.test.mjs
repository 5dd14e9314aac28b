import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  MediaStream, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver, nonstandard,
} from '../lib/index.js';
import { onFrame, receivers } from '../lib/rtp-receiver.js';
import { negotiate, once, pair, record, trickle } from './pair.mjs';

const audio = () => nonstandard.createTrack('audio');

test('addTrack sends, and the other side is told with its streams', async (t) => {
  const [a, b] = pair(t);
  const track = audio();
  const stream = new MediaStream([track]);
  const sender = a.addTrack(track, stream);
  assert.ok(sender instanceof RTCRtpSender);
  assert.throws(() => a.addTrack(track), { name: 'InvalidAccessError' });
  const seen = record(b, ['signalingstatechange', 'track']);
  let told;
  b.ontrack = (event) => {
    told = event;
    assert.deepEqual(b.getTransceivers(), [event.transceiver]);
  };
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  assert.deepEqual(seen, ['signalingstatechange', 'track']);
  assert.equal(told.streams[0].id, stream.id);
  assert.deepEqual(told.streams[0].getTracks(), [told.track]);
  assert.ok(told.receiver instanceof RTCRtpReceiver && told.transceiver instanceof RTCRtpTransceiver);
  assert.equal(told.transceiver.direction, 'recvonly');
  assert.deepEqual([told.track.kind, told.track.muted, told.track.readyState], ['audio', true, 'live']);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const [transceiver] = a.getTransceivers();
  assert.deepEqual([transceiver.direction, transceiver.currentDirection, transceiver.mid], ['sendrecv', 'sendonly', '0']);
  assert.equal(told.transceiver.currentDirection, 'recvonly');

  // It goes, and comes back.
  const gone = once(told.streams[0], 'removetrack');
  a.removeTrack(sender);
  assert.equal(sender.track, null);
  await negotiate(a, b);
  await gone;
  assert.equal(told.transceiver.currentDirection, 'inactive');
  const again = once(b, 'track');
  transceiver.direction = 'sendonly';
  await sender.replaceTrack(track);
  sender.setStreams(new MediaStream());
  await negotiate(a, b);
  const { track: same, streams } = await again;
  assert.equal(same, told.track);
  assert.notEqual(streams[0].id, stream.id);
});

test('a transceiver takes the track that addTrack brings', (t) => {
  const [a] = pair(t);
  const transceiver = a.addTransceiver('audio', { direction: 'recvonly' });
  const track = audio();
  assert.equal(a.addTrack(track), transceiver.sender);
  assert.deepEqual([transceiver.direction, transceiver.sender.track], ['sendrecv', track]);
  a.addTrack(audio());
  assert.equal(a.getTransceivers().length, 2);
  assert.throws(() => a.addTransceiver('text'), TypeError);
  assert.throws(() => a.addTransceiver('audio', { direction: 'both' }), TypeError);
  assert.throws(() => a.addTransceiver('video', { sendEncodings: [{ rid: 'a' }, { rid: 'a' }] }), TypeError);
  assert.throws(() => a.addTransceiver('video', { sendEncodings: [{ scaleResolutionDownBy: 0.5 }] }), RangeError);
  const other = new RTCPeerConnection();
  assert.throws(() => a.removeTrack(other.addTransceiver('audio').sender), { name: 'InvalidAccessError' });
  other.close();
});

test('stop ends both sides with the next negotiation', async (t) => {
  const [a, b] = pair(t);
  const transceiver = a.addTransceiver('audio');
  await negotiate(a, b);
  const [theirs] = b.getTransceivers();
  transceiver.stop();
  transceiver.stop();
  assert.deepEqual([transceiver.direction, transceiver.currentDirection], ['stopped', 'sendonly']);
  await once(transceiver.receiver.track, 'ended');
  const ended = once(theirs.receiver.track, 'ended');
  await negotiate(a, b);
  await ended;
  assert.deepEqual([a.getTransceivers(), b.getTransceivers()], [[], []]);
  assert.deepEqual([transceiver.currentDirection, theirs.currentDirection, theirs.mid], ['stopped', 'stopped', null]);
  assert.throws(() => {
    theirs.direction = 'sendrecv';
  }, { name: 'InvalidStateError' });
  await assert.rejects(transceiver.sender.replaceTrack(null), { name: 'InvalidStateError' });
});

test('capabilities, preferences and parameters', async (t) => {
  const [a, b] = pair(t);
  const capabilities = RTCRtpSender.getCapabilities('audio');
  assert.equal(RTCRtpReceiver.getCapabilities('smell'), null);
  const pcmu = capabilities.codecs.filter(({ mimeType }) => mimeType === 'audio/PCMU');
  assert.equal(pcmu.length, 1);
  const transceiver = a.addTransceiver('audio');
  transceiver.setCodecPreferences(pcmu);
  assert.throws(() => transceiver.setCodecPreferences([{ mimeType: 'audio/none', clockRate: 1 }]), {
    name: 'InvalidModificationError',
  });
  const { sdp } = await a.createOffer();
  assert.match(sdp, /^m=audio 9 UDP\/TLS\/RTP\/SAVPF 0\r$/m);
  const { sender } = transceiver;
  await assert.rejects(sender.setParameters(structuredClone(new RTCPeerConnection().addTransceiver('audio').sender.getParameters())), {
    name: 'InvalidStateError',
  });
  const parameters = sender.getParameters();
  assert.equal(parameters.encodings.length, 1);
  parameters.encodings[0].active = false;
  await sender.setParameters(parameters);
  assert.equal(sender.getParameters().encodings[0].active, false);
  const changed = sender.getParameters();
  changed.transactionId = 'other';
  await assert.rejects(sender.setParameters(changed), { name: 'InvalidModificationError' });
  await negotiate(a, b);
  assert.deepEqual(sender.getParameters().codecs.map((codec) => codec.mimeType), ['audio/PCMU']);
  assert.equal(sender.dtmf.canInsertDTMF, false);
});

test('encoded frames go through', async (t) => {
  const [a, b] = pair(t);
  trickle(a, b);
  const sender = a.addTrack(audio());
  const connected = once(a, 'connectionstatechange', () => a.connectionState === 'connected');
  const incoming = once(b, 'track');
  await negotiate(a, b);
  const { receiver } = await incoming;
  await connected;
  const first = new Promise((resolve) => nonstandard.readFrames(receiver, resolve));
  // The other side may still wait for the last message of the handshake.
  let timestamp = 0;
  const data = new Uint8Array([0xf8, 0xff, 0xfe]);
  const timer = setInterval(() => nonstandard.writeFrame(sender, { codec: 'opus', timestamp: (timestamp += 960), data }), 20);
  const frame = await first;
  clearInterval(timer);
  assert.equal(frame.codec.toLowerCase(), 'opus');
  assert.deepEqual([...frame.data], [...data]);
  const report = await b.getStats(receiver.track);
  const inbound = [...report.values()].find(({ type }) => type === 'inbound-rtp');
  assert.ok(inbound.packetsReceived > 0 && inbound.kind === 'audio');
  assert.equal(report.get(inbound.transportId).type, 'transport');
});

test('those who contributed to what a mixer sent are remembered beside it', (t) => {
  const peer = new RTCPeerConnection();
  t.after(() => peer.close());
  const { receiver } = peer.addTransceiver('audio');
  const { transceiver } = receivers.of(receiver);
  const arrives = (timestamp, contributing) => {
    onFrame(transceiver, { kind: 'frame', codec: 'opus', timestamp, keyFrame: true, ssrc: 9, contributing, audioLevel: 20, clockRate: 48000, data: Buffer.from([0xf8]) });
  };
  arrives(960, undefined);
  assert.deepEqual(receiver.getContributingSources(), []);
  arrives(1920, [7, 8]);
  arrives(2880, [8]);
  const heard = receiver.getContributingSources().map(({ source, rtpTimestamp }) => [source, rtpTimestamp]);
  assert.deepEqual(heard, [[8, 2880], [7, 1920]]);
  assert.deepEqual(receiver.getSynchronizationSources().map(({ source, rtpTimestamp }) => [source, rtpTimestamp]), [[9, 2880]]);
  // No more than any receiver remembers of sources.
  for (let source = 100; source < 300; source += 1) arrives(3840, [source]);
  assert.equal(receiver.getContributingSources().length, 64);
});

test('frames that end when the transceiver is stopped, and were asked for again, are not an error', async (t) => {
  const [a, b] = pair(t);
  const transceiver = a.addTransceiver('audio');
  await negotiate(a, b);
  const [theirs] = b.getTransceivers();
  const own = receivers.of(theirs.receiver);
  nonstandard.readFrames(theirs.receiver, () => {});
  own.wanted = own.readFor + 1;
  transceiver.stop();
  await negotiate(a, b);
  assert.equal(theirs.currentDirection, 'stopped');
  onFrame(own.transceiver, { kind: 'frames-end' });
  assert.equal(own.isRead, false);
});
