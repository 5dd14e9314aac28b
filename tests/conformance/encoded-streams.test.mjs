/** Frames as streams beside the connection (`createEncodedStreams`), and requests for key frames. */

import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { nonstandard } from '../../bindings/node/lib/index.js';
import { connected, media, negotiate, peers, test, trickle } from './page.mjs';

const globals = new URL('../../bindings/node/lib/globals.js', import.meta.url).href;
const insertable = { encodedInsertableStreams: true };

for (const kind of ['audio', 'video']) {
  test(`${kind} goes through streams on both sides`, async (t) => {
    const [a, b] = peers(t, 2, insertable);
    const sender = a.addTrack(await media(t, kind));
    const ours = sender.createEncodedStreams();
    assert.throws(() => sender.createEncodedStreams(), { name: 'InvalidStateError' });
    const theirs = new Promise((resolve) => {
      b.ontrack = ({ receiver }) => {
        nonstandard.readFrames(receiver, () => {});
        resolve(receiver.createEncodedStreams());
      };
    });
    trickle(a, b);
    await negotiate(a, b);
    const [reader, writer] = [ours.readable.getReader(), ours.writable.getWriter()];
    const other = (await theirs).readable.getReader();
    for (let count = 0; count < 3; count += 1) {
      const { value: frame } = await reader.read();
      const metadata = frame.getMetadata();
      // Its last byte is changed: the header says what it is.
      const data = new Uint8Array(frame.data);
      data[data.length - 1] ^= 0xff;
      const sent = data.slice();
      await writer.write(frame);
      assert.equal(frame.data.byteLength, 0, 'what is written is taken');
      assert.throws(() => new frame.constructor(frame), { name: 'DataCloneError' });
      const { value: arrived } = await other.read();
      assert.deepEqual(new Uint8Array(arrived.data), sent);
      assert.equal(arrived.type, frame.type);
      const told = arrived.getMetadata();
      assert.deepEqual([told.rtpTimestamp, told.synchronizationSource], [metadata.rtpTimestamp, metadata.synchronizationSource]);
      if (kind === 'audio') assert.deepEqual([metadata.audioLevel, told.audioLevel, Number.isInteger(told.sequenceNumber)], [0, 0, true]);
      else assert.deepEqual([metadata.frameId, metadata.dependencies], [count + 1, count === 0 ? [] : [count]]);
    }
  });
}

test('streams are made where they were asked for, and a frame is written once', async (t) => {
  const [plain] = peers(t, 1);
  const { sender, receiver } = plain.addTransceiver('video');
  for (const own of [sender, receiver]) assert.throws(() => own.createEncodedStreams(), { name: 'InvalidStateError' });
  const [a, b] = peers(t, 2, insertable);
  const streams = a.addTrack(await media(t, 'video')).createEncodedStreams();
  trickle(a, b);
  await negotiate(a, b);
  const twice = new TransformStream({
    transform(frame, controller) {
      controller.enqueue(frame);
      controller.enqueue(frame);
    },
  });
  await assert.rejects(streams.readable.pipeThrough(twice).pipeTo(streams.writable), { name: 'OperationError' });
});

/** A worker that lets frames pass, says what they are, and refuses requests for key frames where it is told so. */
function worker(t) {
  const made = new Worker(`
    import(${JSON.stringify(globals)}).then(() => {
      const { parentPort } = require('node:worker_threads');
      globalThis.onrtctransform = ({ transformer }) => {
        transformer.onkeyframerequest = (event) => {
          if (transformer.options.refuses) event.preventDefault();
          parentPort.postMessage({ name: event.constructor.name, rid: event.rid });
        };
        const tell = new TransformStream({
          transform(frame, controller) {
            parentPort.postMessage({ type: frame.type });
            controller.enqueue(frame);
          },
        });
        transformer.readable.pipeThrough(tell).pipeTo(transformer.writable);
      };
      parentPort.postMessage('ready');
    });
  `, { eval: true });
  t.after(() => made.terminate());
  return made;
}

const says = (from, accept) => new Promise((resolve) => {
  from.on('message', (message) => {
    if (accept(message)) resolve(message);
  });
});

test('a transform is asked first when the other side wants a key frame', async (t) => {
  for (const refuses of [false, true]) {
    const own = worker(t);
    await says(own, (message) => message === 'ready');
    const { a, b } = await connected(t, (each) => {
      each.addTrack(nonstandard.createTrack('video'));
    });
    const [sender, receiver] = [a.getSenders()[0], b.getReceivers()[0]];
    const wanted = [];
    nonstandard.onKeyFrameWanted(sender, (request) => wanted.push(request));
    sender.transform = new RTCRtpScriptTransform(own, { refuses });
    const event = says(own, ({ name }) => name !== undefined);
    let timestamp = 0;
    const timer = setInterval(() => {
      nonstandard.writeFrame(sender, { codec: 'VP8', timestamp, data: Buffer.from([0x10, 2, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0, 1, 2]) });
      timestamp += 3000;
      nonstandard.requestKeyFrame(receiver);
    }, 20);
    t.after(() => clearInterval(timer));
    assert.deepEqual(await event, { name: 'KeyFrameRequestEvent', rid: null });
    if (refuses) assert.deepEqual(wanted, []);
    else while (wanted.length === 0) await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
});

test('the still picture is sent whole once, and again when it is wanted', async (t) => {
  const own = worker(t);
  await says(own, (message) => message === 'ready');
  const types = [];
  own.on('message', ({ type }) => type !== undefined && types.push(type));
  const { b } = await connected(t, async (each) => {
    each.addTrack(await media(t, 'video')).transform = new RTCRtpScriptTransform(own, {});
  });
  const reach = async (list) => {
    while (types.slice(-list.length).join() !== list.join()) await says(own, ({ type }) => type !== undefined);
  };
  await reach(['key', 'delta', 'delta']);
  nonstandard.requestKeyFrame(b.getReceivers()[0]);
  await reach(['delta', 'key', 'delta']);
});
