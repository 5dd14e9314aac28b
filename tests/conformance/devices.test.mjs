/** Devices, settings and constraints (mediacapture-main), of the synthetic microphone and camera. */

import assert from 'node:assert/strict';
import { test } from './page.mjs';

const media = (constraints) => navigator.mediaDevices.getUserMedia(constraints);
const tracksOf = async (constraints) => (await media(constraints)).getTracks();

const SOUND = ['deviceId', 'groupId', 'sampleRate', 'sampleSize', 'echoCancellation', 'autoGainControl', 'noiseSuppression', 'latency', 'channelCount'];
const PICTURE = ['deviceId', 'groupId', 'width', 'height', 'aspectRatio', 'frameRate', 'facingMode', 'resizeMode'];

test('devices have no names before the first of them is opened', async () => {
  const before = await navigator.mediaDevices.enumerateDevices();
  assert.deepEqual(before.map(({ kind }) => kind), ['audioinput', 'videoinput']);
  assert.ok(before.every(({ deviceId, label, groupId }) => deviceId === '' && label === '' && groupId === ''));
  assert.deepEqual(before[0].getCapabilities(), {});
  const [track] = await tracksOf({ video: true });
  const after = await navigator.mediaDevices.enumerateDevices();
  assert.equal(after[1].deviceId, track.getSettings().deviceId);
  assert.equal(after[1].label, track.label);
  assert.deepEqual(after[1].getCapabilities(), track.getCapabilities());
});

test('every property that can be asked for has a setting and a capability that holds it', async () => {
  const known = navigator.mediaDevices.getSupportedConstraints();
  assert.deepEqual(Object.keys(known).sort(), [...new Set([...SOUND, ...PICTURE])].sort());
  assert.ok(Object.values(known).every((own) => own === true));
  for (const [kind, names] of [['audio', SOUND], ['video', PICTURE]]) {
    const [track] = await tracksOf({ [kind]: true });
    const [settings, capabilities] = [track.getSettings(), track.getCapabilities()];
    assert.deepEqual(Object.keys(settings).sort(), [...names].sort());
    assert.deepEqual(Object.keys(capabilities).sort(), [...names].sort());
    for (const name of names) {
      const can = capabilities[name];
      const holds = typeof can === 'string' ? can === settings[name]
        : Array.isArray(can) ? can.includes(settings[name])
          : can.min <= settings[name] && settings[name] <= can.max;
      assert.ok(holds, name);
    }
  }
});

test('what is required and cannot be had is refused by name, at the beginning and later', async () => {
  const [camera, microphone] = [(await tracksOf({ video: true }))[0], (await tracksOf({ audio: true }))[0]];
  const refused = [
    ['video', { facingMode: { exact: 'invalid' } }, 'facingMode'],
    ['video', { resizeMode: { exact: 'crop-and-scale' } }, 'resizeMode'],
    ['video', { width: { min: 100_000 } }, 'width'],
    ['audio', { echoCancellation: { exact: true } }, 'echoCancellation'],
    ['audio', { groupId: { exact: 'nobody' } }, 'groupId'],
  ];
  for (const [kind, constraints, constraint] of refused) {
    await assert.rejects(media({ [kind]: constraints }), { name: 'OverconstrainedError', constraint });
    const track = kind === 'audio' ? microphone : camera;
    await assert.rejects(track.applyConstraints(constraints), { name: 'OverconstrainedError', constraint });
    assert.deepEqual(track.getConstraints(), {});
  }
});

test('what is wished for, or belongs to the other kind, is no reason to refuse', async () => {
  const [track] = await tracksOf({ video: { width: 100_000, facingMode: 'environment', channelCount: { exact: 9 }, unheard: { exact: 1 } } });
  await track.applyConstraints({ frameRate: { ideal: 120 } });
  assert.deepEqual(track.getConstraints(), { frameRate: { ideal: 120 } });
  track.stop();
  await track.applyConstraints({ width: { exact: 1 } });
  assert.deepEqual(track.getConstraints(), { frameRate: { ideal: 120 } });
});
