/** Parameters of senders (webrtc-pc §5.2): encodings, codecs, transactions. */

import assert from 'node:assert/strict';
import { connected, media, negotiate, peers, test } from './page.mjs';

const named = (name) => ({ name });
const codec = (kind, name) => RTCRtpSender.getCapabilities(kind).codecs.find(({ mimeType }) => mimeType.toLowerCase() === `${kind}/${name}`);

test('encodings of a sender without any stated', async (t) => {
  const [a] = peers(t, 1);
  for (const kind of ['audio', 'video']) {
    for (const init of [{}, { sendEncodings: [] }]) {
      const { encodings, codecs, headerExtensions, rtcp, transactionId } = a.addTransceiver(kind, init).sender.getParameters();
      assert.equal(encodings.length, 1);
      assert.equal(encodings[0].active, true);
      assert.equal('rid' in encodings[0], false);
      assert.deepEqual([codecs, headerExtensions], [[], []]);
      assert.equal(typeof rtcp.cname, 'string');
      assert.notEqual(transactionId, '');
    }
  }
});

test('scaleResolutionDownBy has defaults by the number of encodings', (t) => {
  const [a] = peers(t, 1);
  const scales = (sendEncodings) => a.addTransceiver('video', { sendEncodings }).sender.getParameters().encodings
    .map((own) => own.scaleResolutionDownBy);
  assert.deepEqual(scales([{ rid: 'a' }, { rid: 'b' }, { rid: 'c' }]), [4, 2, 1]);
  assert.deepEqual(scales([{ rid: 'a' }, { rid: 'b', scaleResolutionDownBy: 3 }]), [1, 3]);
  assert.deepEqual(scales([{}]), [1]);
  const audio = a.addTransceiver('audio', { sendEncodings: [{ scaleResolutionDownBy: 0.1, maxFramerate: -1, rid: 'x' }, { rid: 'y' }] });
  const [own, ...others] = audio.sender.getParameters().encodings;
  assert.deepEqual([own.scaleResolutionDownBy, own.maxFramerate, own.rid, others.length], [undefined, undefined, undefined, 0]);
});

test('encodings that are refused', (t) => {
  const [a] = peers(t, 1);
  const refused = (sendEncodings, error) => assert.throws(() => a.addTransceiver('video', { sendEncodings }), error);
  refused([{ rid: '' }], TypeError);
  refused([{ rid: '@Invalid!' }], TypeError);
  refused([{ rid: 'a'.repeat(256) }], TypeError);
  refused([{ rid: 'a' }, {}], TypeError);
  refused([{ rid: 'a' }, { rid: 'a' }], TypeError);
  refused([{ scaleResolutionDownBy: 0.5 }], RangeError);
  refused([{ maxFramerate: -1 }], RangeError);
  refused([{ priority: 'bogus' }], TypeError);
  assert.equal(a.getTransceivers().length, 0);
  const many = a.addTransceiver('video', { sendEncodings: Array.from({ length: 20 }, (_, index) => ({ rid: `r${index}` })) });
  assert.ok(many.sender.getParameters().encodings.length >= 3);
});

test('transactions', async (t) => {
  const [a] = peers(t, 1);
  const { sender } = a.addTransceiver('audio');
  const first = sender.getParameters();
  assert.equal(sender.getParameters().transactionId, first.transactionId);
  await sender.setParameters(first);
  await assert.rejects(sender.setParameters(first), named('InvalidStateError'));
  const second = sender.getParameters();
  assert.notEqual(second.transactionId, first.transactionId);
  await assert.rejects(sender.setParameters({ ...second, transactionId: first.transactionId }), named('InvalidModificationError'));
  await assert.rejects(sender.setParameters({ ...sender.getParameters(), transactionId: undefined }), TypeError);
  const stale = sender.getParameters();
  await new Promise((resolve) => { setTimeout(resolve, 5); });
  await assert.rejects(sender.setParameters(stale), named('InvalidStateError'));
});

test('what is read-only cannot be changed', async (t) => {
  const { a } = await connected(t, async (own) => {
    own.addTransceiver('video', { sendEncodings: [{ rid: 'a' }] });
  });
  const [sender] = a.getSenders();
  for (const change of [
    (own) => own.encodings.push({ rid: 'b' }),
    (own) => { own.encodings[0].rid = 'b'; },
    (own) => { own.encodings = []; },
    (own) => own.codecs.pop(),
    (own) => { own.codecs[0].payloadType += 1; },
    (own) => own.headerExtensions.pop(),
    (own) => { own.rtcp.cname = 'other'; },
  ]) {
    const own = sender.getParameters();
    change(own);
    await assert.rejects(sender.setParameters(own), named('InvalidModificationError'));
  }
});

test('what can be changed', async (t) => {
  const [a] = peers(t, 1);
  const { sender } = a.addTransceiver('video');
  for (const [member, value] of [
    ['active', false], ['maxBitrate', 10_000], ['maxFramerate', 24], ['scaleResolutionDownBy', 1.5], ['priority', 'high'], ['networkPriority', 'very-low'],
  ]) {
    const own = sender.getParameters();
    own.encodings[0][member] = value;
    await sender.setParameters(own);
    assert.equal(sender.getParameters().encodings[0][member], value);
  }
  for (const [member, value] of [['maxFramerate', -1], ['scaleResolutionDownBy', 0.5]]) {
    const own = sender.getParameters();
    own.encodings[0][member] = value;
    await assert.rejects(sender.setParameters(own), RangeError);
  }
  const own = sender.getParameters();
  assert.equal(own.degradationPreference, undefined);
  own.degradationPreference = 'maintain-resolution';
  await sender.setParameters(own);
  assert.equal(sender.getParameters().degradationPreference, 'maintain-resolution');
});

test('the codec of an encoding: before a negotiation', async (t) => {
  const [a] = peers(t, 1);
  for (const [kind, name] of [['audio', 'pcmu'], ['video', 'vp9']]) {
    const wanted = codec(kind, name);
    assert.throws(() => a.addTransceiver(kind, { sendEncodings: [{ codec: { mimeType: `${kind}/bogus`, clockRate: 1, channels: 1 } }] }), named('OperationError'));
    assert.throws(() => a.addTransceiver(kind, { sendEncodings: [{ codec: { ...wanted, clockRate: wanted.clockRate * 2 } }] }), named('OperationError'));
    const { sender } = a.addTransceiver(kind, { sendEncodings: [{ codec: wanted }] });
    assert.deepEqual(sender.getParameters().encodings[0].codec, wanted);
    const own = sender.getParameters();
    delete own.encodings[0].codec;
    await sender.setParameters(own);
    assert.equal('codec' in sender.getParameters().encodings[0], false);
  }
});

test('the codec of an encoding: what is sent, and what a negotiation leaves of it', async (t) => {
  const { a, b } = await connected(t, async (own) => {
    own.addTransceiver(await media(t, 'audio'), { sendEncodings: [{ codec: codec('audio', 'pcma') }] });
    own.addTransceiver(await media(t, 'video'));
  });
  const [audio, video] = a.getSenders();
  const used = async (sender) => {
    const all = [...(await sender.getStats()).values()];
    const { codecId } = all.find(({ type }) => type === 'outbound-rtp');
    return all.find(({ id }) => id === codecId).mimeType;
  };
  const becomes = async (sender, name) => {
    while ((await used(sender)) !== name) await new Promise((resolve) => { setTimeout(resolve, 20); });
  };
  await becomes(audio, 'audio/PCMA');
  const own = video.getParameters();
  [own.encodings[0].codec] = own.codecs.filter(({ mimeType }) => mimeType === 'video/VP9');
  await video.setParameters(own);
  await becomes(video, 'video/VP9');
  const [, transceiver] = a.getTransceivers();
  transceiver.setCodecPreferences([codec('video', 'vp8')]);
  const unknown = video.getParameters();
  unknown.encodings[0].codec = { ...codec('video', 'vp8'), clockRate: 8000 };
  await assert.rejects(video.setParameters(unknown), named('InvalidModificationError'));
  await negotiate(a, b);
  assert.equal(video.getParameters().encodings[0].codec, undefined);
  await becomes(video, 'video/VP8');
});

test('receivers', async (t) => {
  const { b } = await connected(t, async (own) => {
    own.addTransceiver('audio');
  });
  const [receiver] = b.getReceivers();
  const { codecs, headerExtensions, rtcp } = receiver.getParameters();
  assert.ok(codecs.length > 0 && headerExtensions.length > 0);
  assert.deepEqual(Object.keys(rtcp).includes('reducedSize'), true);
  for (const value of [0, 4000, 12.5, null]) {
    receiver.jitterBufferTarget = value;
    assert.equal(receiver.jitterBufferTarget, value);
  }
  for (const value of [-1, 4001]) assert.throws(() => { receiver.jitterBufferTarget = value; }, RangeError);
  assert.throws(() => { receiver.jitterBufferTarget = NaN; }, TypeError);
});

test('packet time may adapt where sound is sent, and what encodings began with is kept', async (t) => {
  const [connection] = peers(t);
  const { sender } = connection.addTransceiver('audio', { sendEncodings: [{ adaptivePtime: true, networkPriority: 'high' }] });
  const parameters = sender.getParameters();
  assert.equal(parameters.encodings[0].adaptivePtime, true);
  assert.equal(parameters.encodings[0].networkPriority, 'high');
  parameters.encodings[0].adaptivePtime = false;
  await sender.setParameters(parameters);
  assert.equal(sender.getParameters().encodings[0].adaptivePtime, false);
});

test('setParameters asks for key frames of the encodings that are named', async (t) => {
  const [connection] = peers(t);
  const { sender } = connection.addTransceiver('video', { sendEncodings: [{ rid: 'a' }, { rid: 'b' }] });
  const change = (options) => sender.setParameters(sender.getParameters(), options);
  await change();
  await change({});
  await change({ encodingOptions: [] });
  await change({ encodingOptions: [{ keyFrame: true }, {}] });
  await assert.rejects(change({ encodingOptions: [{ keyFrame: true }] }), { name: 'InvalidModificationError' });
});
