/** Encoded frames are serializable (webrtc-encoded-transform §5): in structured clones, and in messages of workers. */

import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import { MessageChannel, Worker } from 'node:worker_threads';
import { connected, media, negotiate, test, trickle } from './page.mjs';

const globals = new URL('../../bindings/node/lib/globals.js', import.meta.url).href;

const next = (from) => new Promise((resolve) => { from.once('message', resolve); });

/** The first frame of a sender, by way of a worker that hands it to this thread in several places. */
async function frameOf(t, kind) {
  const worker = new Worker(`
    import(${JSON.stringify(globals)}).then(() => {
      const { parentPort } = require('node:worker_threads');
      globalThis.onrtctransform = async ({ transformer }) => {
        const { value } = await transformer.readable.getReader().read();
        const length = value.data.byteLength;
        parentPort.postMessage({ value, places: [new Map([['frame', value]]), new Set([value])], length }, { transfer: [value.data] });
        parentPort.postMessage(value.data.byteLength);
      };
      parentPort.postMessage('ready');
    });
  `, { eval: true });
  t.after(() => worker.terminate());
  await next(worker);
  const told = next(worker);
  await connected(t, async (own) => {
    own.addTrack(await media(t, kind)).transform = new RTCRtpScriptTransform(worker);
  });
  const { value, places: [map, set], length } = await told;
  assert.equal(map.get('frame'), value);
  assert.ok(set.has(value));
  assert.equal(value.data.byteLength, length);
  assert.equal(await next(worker), 0, 'the data was moved');
  return value;
}

const bytes = (frame) => [...new Uint8Array(frame.data)];

for (const [kind, Interface] of [['audio', 'RTCEncodedAudioFrame'], ['video', 'RTCEncodedVideoFrame']]) {
  test(`${Interface}: what a worker posts, and clones of it`, async (t) => {
    const frame = await frameOf(t, kind);
    assert.ok(frame instanceof globalThis[Interface]);
    if (kind === 'video') assert.equal(frame.type, 'key');
    for (const copy of [structuredClone(frame), new globalThis[Interface](frame)]) {
      assert.ok(copy instanceof globalThis[Interface] && copy !== frame);
      assert.notEqual(copy.data, frame.data);
      assert.deepEqual([bytes(copy), copy.type, copy.getMetadata()], [bytes(frame), frame.type, frame.getMetadata()]);
      new Uint8Array(copy.data).fill(0xa5);
      assert.notDeepEqual(bytes(copy), bytes(frame), 'the copies are deep');
    }
    // A buffer that two frames share is shared by their clones.
    const shared = new ArrayBuffer(16);
    const other = structuredClone(frame);
    const again = structuredClone(frame);
    other.data = again.data = shared;
    const [first, second] = structuredClone([other, again]);
    assert.equal(first.data, second.data);
    assert.notEqual(first.data, shared);
    // Ports clone as well.
    const { port1, port2 } = new MessageChannel();
    t.after(() => port1.close());
    const arrived = new Promise((resolve) => { port2.onmessage = ({ data }) => resolve(data); });
    port1.postMessage({ frame });
    assert.deepEqual(bytes((await arrived).frame), bytes(frame));
  });

  test(`${Interface}: data that was moved, and data that is none`, async (t) => {
    const frame = await frameOf(t, kind);
    const { length } = bytes(frame);
    const moved = structuredClone(frame, { transfer: [frame.data] });
    assert.deepEqual([frame.data.byteLength, moved.data.byteLength], [0, length]);
    assert.throws(() => structuredClone(frame), { name: 'DataCloneError' });
    assert.throws(() => new globalThis[Interface](frame), { name: 'DataCloneError' });
    for (const wrong of [new Uint8Array(16), new ArrayBuffer(16, { maxByteLength: 64 }), new SharedArrayBuffer(16), null]) {
      assert.throws(() => { moved.data = wrong; }, TypeError);
    }
    assert.equal(moved.data.byteLength, length);
    moved.data = runInNewContext('new Uint8Array(16).fill(7).buffer');
    assert.deepEqual(bytes(structuredClone(moved)), Array.from({ length: 16 }, () => 7));
  });

  test(`${Interface}: metadata of a copy`, async (t) => {
    const frame = await frameOf(t, kind);
    const before = frame.getMetadata();
    const own = kind === 'audio'
      ? { sequenceNumber: 8, audioLevel: 0.5 }
      : { frameId: 8, dependencies: [7], width: 10, height: 11, spatialIndex: 1, temporalIndex: 2, timestamp: 14 };
    const all = {
      synchronizationSource: 1, payloadType: 2, contributingSources: [3], rtpTimestamp: 4, receiveTime: 5, captureTime: 6,
      senderCaptureTimeOffset: 7, mimeType: `${kind}/other`, ...own,
    };
    for (const [key, value] of Object.entries(all)) {
      const copy = new globalThis[Interface](frame, { metadata: { [key]: value } });
      assert.deepEqual(copy.getMetadata(), { ...before, [key]: value });
    }
    assert.deepEqual(frame.getMetadata(), before);
  });
}

test('RTCCertificate: a clone is the same certificate, with its key', async (t) => {
  const [made, other] = await Promise.all([1, 2].map(() => RTCPeerConnection.generateCertificate({ name: 'ECDSA', namedCurve: 'P-256' })));
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const arrived = next(port2);
  port1.postMessage({ list: [made] });
  const clones = [structuredClone(made), (await arrived).list[0]];
  for (const copy of clones) {
    assert.ok(copy instanceof RTCCertificate && copy !== made);
    assert.deepEqual([copy.expires, copy.getFingerprints()], [made.expires, made.getFingerprints()]);
    const [a, b] = [new RTCPeerConnection({ certificates: [copy] }), new RTCPeerConnection()];
    t.after(() => [a, b].forEach((own) => own.close()));
    a.setConfiguration({ certificates: [made] });
    assert.throws(() => a.setConfiguration({ certificates: [other] }), { name: 'InvalidModificationError' });
    const channel = a.createDataChannel('');
    trickle(a, b);
    const open = new Promise((resolve) => { channel.onopen = resolve; });
    await negotiate(a, b);
    await open;
  }
  assert.throws(() => new RTCPeerConnection({ certificates: [{}] }), TypeError);
});

test('other values are cloned as before', () => {
  const value = { list: [1, { deep: new Date(0) }], bytes: new Uint8Array([1, 2]), map: new Map([[{}, new Set([1])]]) };
  value.self = value;
  const copy = structuredClone(value);
  assert.deepEqual(copy, value);
  assert.equal(copy.self, copy);
  assert.throws(() => structuredClone(() => {}), { name: 'DataCloneError' });
  assert.throws(() => structuredClone(), TypeError);
});
