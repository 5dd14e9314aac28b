/** Encoded transforms (webrtc-encoded-transform), with the worker of Node. */

import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { nonstandard } from '../../bindings/node/lib/index.js';
import { connected, media, test } from './page.mjs';

const globals = new URL('../../bindings/node/lib/globals.js', import.meta.url).href;

/** A worker that turns all bits of what passes over, and says what it saw. */
function worker(t) {
  const made = new Worker(`
    import(${JSON.stringify(globals)}).then(() => {
      const { parentPort } = require('node:worker_threads');
      globalThis.onrtctransform = ({ transformer }) => {
        parentPort.postMessage({ options: transformer.options });
        let isFirst = true;
        const turn = new TransformStream({
          transform(frame, controller) {
            const bytes = new Uint8Array(frame.data);
            frame.data = bytes.map((byte) => byte ^ 0xff).buffer;
            if (isFirst && transformer.options?.ask) {
              transformer[transformer.options.ask]().then(
                (value) => parentPort.postMessage({ answer: typeof value }),
                (error) => parentPort.postMessage({ answer: error.name }),
              );
            }
            if (isFirst) parentPort.postMessage({ name: frame.constructor.name, type: frame.type, metadata: frame.getMetadata() });
            isFirst = false;
            controller.enqueue(frame);
          },
        });
        transformer.readable.pipeThrough(turn).pipeTo(transformer.writable);
      };
      parentPort.on('message', () => {});
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

for (const kind of ['audio', 'video']) {
  test(`${kind} goes through the workers of both sides and comes out as it was`, async (t) => {
    const [ours, theirs] = [worker(t), worker(t)];
    await Promise.all([ours, theirs].map((own) => says(own, (message) => message === 'ready')));
    const seen = [ours, theirs].map((own) => says(own, ({ name }) => name !== undefined));
    const option = says(ours, ({ options }) => options !== undefined);
    const track = nonstandard.createTrack(kind);
    const { a, b } = await connected(t, (own) => {
      own.addTrack(track);
    });
    const [sender, receiver] = [a.getSenders()[0], b.getReceivers()[0]];
    assert.equal(sender.transform, null);
    sender.transform = new RTCRtpScriptTransform(ours, { name: 'sender' });
    receiver.transform = new RTCRtpScriptTransform(theirs);
    assert.throws(() => { receiver.transform = sender.transform; }, { name: 'InvalidStateError' });
    assert.throws(() => { receiver.transform = {}; }, TypeError);
    assert.deepEqual((await option).options, { name: 'sender' });
    const arrived = new Promise((resolve) => { nonstandard.readFrames(receiver, resolve); });
    const codec = kind === 'audio' ? 'opus' : 'VP8';
    // A frame of VP8 whose first bit is 0 would be a key frame; turned over it is sent as another one.
    const data = kind === 'audio' ? Buffer.from([0xf8, 0xff, 0xfe]) : Buffer.from([0xef, ...Buffer.from('bdff62fed57f1dfe1ff0', 'hex'), 1, 2, 3]);
    let timestamp = 960;
    const timer = setInterval(() => {
      nonstandard.writeFrame(sender, { codec, timestamp, data });
      timestamp += 3000;
    }, 20);
    t.after(() => clearInterval(timer));
    const frame = await arrived;
    assert.deepEqual(Buffer.from(frame.data), data);
    for (const message of await Promise.all(seen)) {
      assert.equal(message.name, kind === 'audio' ? 'RTCEncodedAudioFrame' : 'RTCEncodedVideoFrame');
      assert.ok(Number.isInteger(message.metadata.synchronizationSource) && Number.isInteger(message.metadata.rtpTimestamp));
      assert.equal(message.metadata.mimeType.toLowerCase(), `${kind}/${codec}`.toLowerCase());
    }
    sender.transform = null;
    assert.equal(sender.transform, null);
  });
}

test('a transformer asks for key frames, as far as its side can', async (t) => {
  for (const [ask, side, answer] of [
    ['generateKeyFrame', 'sender', 'number'], ['sendKeyFrameRequest', 'receiver', 'undefined'],
    ['generateKeyFrame', 'receiver', 'InvalidStateError'], ['sendKeyFrameRequest', 'sender', 'InvalidStateError'],
  ]) {
    const own = worker(t);
    await says(own, (message) => message === 'ready');
    const { a, b } = await connected(t, async (each) => {
      each.addTrack(await media(t, 'video'));
    });
    const told = says(own, (message) => message.answer !== undefined);
    const target = side === 'sender' ? a.getSenders()[0] : b.getReceivers()[0];
    target.transform = new RTCRtpScriptTransform(own, { ask });
    assert.equal((await told).answer, answer);
  }
});

test('frames are made from frames alone, and workers are needed', () => {
  assert.throws(() => new RTCEncodedVideoFrame(), TypeError);
  assert.throws(() => new RTCEncodedAudioFrame({}), TypeError);
  assert.throws(() => new RTCRtpScriptTransform(), TypeError);
  assert.throws(() => new RTCRtpScriptTransform({}), TypeError);
});

test('a worker that drops a hundred frames gets the next ones', async (t) => {
  const made = new Worker(`
    import(${JSON.stringify(globals)}).then(() => {
      const { parentPort } = require('node:worker_threads');
      let seen = 0;
      globalThis.onrtctransform = ({ transformer }) => {
        const drop = new TransformStream({
          transform(frame, controller) {
            seen += 1;
            if (seen > 100) controller.enqueue(frame);
          },
        });
        transformer.readable.pipeThrough(drop).pipeTo(transformer.writable);
      };
      parentPort.postMessage('ready');
    });
  `, { eval: true });
  t.after(() => made.terminate());
  await says(made, (message) => message === 'ready');
  const track = nonstandard.createTrack('audio');
  const { a, b } = await connected(t, (own) => {
    own.addTrack(track);
  });
  const sender = a.getSenders()[0];
  sender.transform = new RTCRtpScriptTransform(made);
  const arrived = new Promise((resolve) => {
    nonstandard.readFrames(b.getReceivers()[0], resolve);
  });
  let timestamp = 0;
  const timer = setInterval(() => {
    timestamp += 960;
    nonstandard.writeFrame(sender, { codec: 'opus', timestamp, data: new Uint8Array([0xf8, 0xff, 0xfe]) });
  }, 5);
  t.after(() => clearInterval(timer));
  assert.ok((await arrived).timestamp !== undefined);
});

test('a worker that waits for messages alone lives until it is ended', async (t) => {
  const made = new Worker(`
    import(${JSON.stringify(globals)}).then(() => {
      const { parentPort } = require('node:worker_threads');
      parentPort.on('message', (message) => parentPort.postMessage({ echo: message }));
      // A timer that holds nothing fires only where something else does.
      setTimeout(() => parentPort.postMessage('alive'), 10).unref();
    });
  `, { eval: true });
  t.after(() => made.terminate());
  const ended = new Promise((resolve, reject) => made.once('exit', () => reject(new Error('the worker has ended'))));
  await Promise.race([says(made, (message) => message === 'alive'), ended]);
  const echoed = says(made, ({ echo }) => echo !== undefined);
  made.postMessage('hello');
  assert.deepEqual(await Promise.race([echoed, ended]), { echo: 'hello' });
});
