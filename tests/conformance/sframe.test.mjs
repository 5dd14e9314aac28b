/** Frames encrypted from end to end (webrtc-encoded-transform §3, RFC 9605). */

import assert from 'node:assert/strict';
import { nonstandard } from '../../bindings/node/lib/index.js';
import { deriveKeys, open, readHeader, seal, suites } from '../../bindings/node/lib/sframe-cipher.js';
import { media, negotiate, next, peers, test, trickle } from './page.mjs';

const secret = (first = 0, usages = ['deriveBits']) => crypto.subtle.importKey('raw', Uint8Array.from({ length: 16 }, (_, index) => first + index), 'HKDF', false, usages);
const cipherSuite = 'AES_128_GCM_SHA256_128';

test('the vectors of RFC 9605, appendix C.3', async () => {
  const text = Buffer.from('draft-ietf-sframe-enc');
  const metadata = Buffer.from('IETF SFrame WG');
  for (const [name, hex] of Object.entries({
    AES_128_CTR_HMAC_SHA256_80: '9901234567449408b6f490086165b9d6f62b24ae1a59a56486b4ae8ed036b88912e24f11',
    AES_128_CTR_HMAC_SHA256_64: '99012345673f31438db4d09434e43afa0f8a2f00867a2be085046a9f5cb4f101d607',
    AES_128_CTR_HMAC_SHA256_32: '990123456717fc8af28a5a695afcfc6c8df6358a17e26b2fcb3bae32e443',
    AES_128_GCM_SHA256_128: '9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb',
    AES_256_GCM_SHA512_128: '990123456794f509d36e9beacb0e261d99c7d1e972f1fed787d4049f17ca21353c1cc24d56ceabced279',
  })) {
    const keys = await deriveKeys(suites[name], 0x123n, await secret());
    const frame = seal(keys, 0x4567n, metadata, text);
    assert.equal(frame.toString('hex'), hex, name);
    assert.deepEqual(open(keys, readHeader(frame), metadata, frame), text);
    for (let at = 0; at < frame.length; at += 1) {
      const changed = Buffer.from(frame);
      changed[at] ^= 1;
      const header = readHeader(changed);
      assert.ok(header === null || open(keys, header, metadata, changed) === null, `${name}: byte ${at}`);
    }
    assert.equal(open(keys, readHeader(frame), Buffer.from('else'), frame), null);
  }
});

test('headers of all lengths, in their shortest form alone', async () => {
  const keys = await deriveKeys(suites[cipherSuite], 0n, await secret());
  for (const [keyId, counter, hex] of [
    [0n, 0n, '00'], [0n, 255n, '08ff'], [255n, 1n, '81ff'], [0x100n, 0x10000000000n, '9d0100010000000000'],
    [2n ** 64n - 1n, 2n ** 64n - 1n, `ff${'ff'.repeat(16)}`],
  ]) {
    const frame = seal({ ...keys, keyId }, counter, Buffer.alloc(0), Buffer.alloc(0));
    assert.equal(frame.subarray(0, hex.length / 2).toString('hex'), hex);
    assert.deepEqual(readHeader(frame), { keyId, counter, length: hex.length / 2 });
  }
  for (const hex of ['', '80', '8007', '0807', '090001', '9fff']) assert.equal(readHeader(Buffer.from(hex, 'hex')), null, hex);
});

test('streams of buffers', async () => {
  for (const name of Object.keys(suites)) {
    const [hide, show] = [new SFrameEncryptorStream({ cipherSuite: name }), new SFrameDecryptorStream({ cipherSuite: name })];
    const writer = hide.writable.getWriter();
    const reader = show.readable.getReader();
    // Without a key nothing goes on.
    const hidden = hide.readable.getReader();
    const awaited = hidden.read();
    await writer.write(Uint8Array.of(0));
    await hide.setEncryptionKey(await secret(), 9);
    await show.addDecryptionKey(await secret(), 9n);
    writer.write(Uint8Array.of(1, 2, 3).buffer);
    writer.write(Uint8Array.of(4, 5).subarray(1));
    const [first, second] = [(await awaited).value, (await hidden.read()).value];
    assert.ok(first instanceof ArrayBuffer && first.byteLength > 3);
    const input = show.writable.getWriter();
    input.write(first);
    input.write(second);
    assert.deepEqual([...new Uint8Array((await reader.read()).value)], [1, 2, 3]);
    assert.deepEqual([...new Uint8Array((await reader.read()).value)], [5]);
    // What is wrong is told and left out.
    const told = [];
    const rest = reader.read();
    const all = new Promise((resolve) => {
      show.onerror = (event) => {
        told.push(event);
        if (told.length === 4) resolve();
      };
    });
    const changed = new Uint8Array(first.slice(0));
    changed[changed.length - 1] ^= 1;
    const other = new Uint8Array(first.slice(0));
    other[1] = 10;
    for (const wrong of [changed, other, new Uint8Array(0), first]) input.write(wrong);
    await all;
    assert.deepEqual(told.map(({ errorType, keyID }) => [errorType, keyID]), [
      ['authentication', 9n], ['keyID', 10n], ['syntax', null], ['authentication', 9n],
    ]);
    assert.ok(told.every((event) => event instanceof SFrameTransformErrorEvent && event.type === 'error'));
    assert.equal(told[0].frame, changed);
    await show.removeDecryptionKey(9);
    const gone = next(show, 'error');
    input.write(second);
    assert.equal((await gone).errorType, 'keyID');
    input.close();
    assert.equal((await rest).done, true);
  }
});

test('keys and options that are none', async () => {
  for (const Interface of [RTCRtpSFrameEncryptor, RTCRtpSFrameDecryptor, SFrameEncryptorStream, SFrameDecryptorStream]) {
    for (const wrong of [undefined, {}, { cipherSuite: 'ROT13' }]) assert.throws(() => new Interface(wrong), TypeError);
    const made = new Interface({ cipherSuite });
    const set = (key, keyId) => (made.setEncryptionKey ?? made.addDecryptionKey).call(made, key, keyId);
    const key = await secret();
    for (const keyId of [0, 1, 2 ** 53 - 1, 2n ** 64n - 1n]) await set(key, keyId);
    for (const keyId of [2n ** 64n, -1n]) await assert.rejects(set(key, keyId), RangeError);
    for (const keyId of [-1, 'one', 2 ** 60]) await assert.rejects(set(key, keyId), TypeError);
    await assert.rejects(set({}, 1), TypeError);
    await assert.rejects(set(await secret(0, ['deriveKey']), 1), { name: 'InvalidModificationError' });
  }
  assert.throws(() => new RTCRtpSFrameEncryptor({ cipherSuite, type: 'per-packet' }), { name: 'NotSupportedError' });
  const [own] = peers({ after() {} }, 1);
  const { sender, receiver } = own.addTransceiver('audio');
  const [encryptor, decryptor] = [new RTCRtpSFrameEncryptor({ cipherSuite }), new RTCRtpSFrameDecryptor({ cipherSuite })];
  assert.throws(() => { sender.transform = decryptor; }, TypeError);
  assert.throws(() => { receiver.transform = encryptor; }, TypeError);
  sender.transform = encryptor;
  sender.transform = encryptor;
  const other = own.addTransceiver('audio').sender;
  assert.throws(() => { other.transform = encryptor; }, { name: 'InvalidStateError' });
  sender.transform = null;
  other.transform = encryptor;
  assert.equal(other.transform, encryptor);
  own.close();
});

for (const kind of ['audio', 'video']) {
  test(`${kind} that only who has the key can read`, async (t) => {
    const [a, b] = peers(t);
    const sender = a.addTrack(await media(t, kind));
    const encryptor = new RTCRtpSFrameEncryptor({ cipherSuite });
    sender.transform = encryptor;
    const decryptor = new RTCRtpSFrameDecryptor({ cipherSuite });
    await encryptor.setEncryptionKey(await secret(), 3);
    await decryptor.addDecryptionKey(await secret(9), 3);
    const unread = next(decryptor, 'error');
    const seen = [];
    let enough;
    const shown = new Promise((resolve) => { enough = resolve; });
    b.ontrack = ({ receiver }) => {
      receiver.transform = decryptor;
      nonstandard.readFrames(receiver, (frame) => {
        seen.push(frame);
        if (seen.length === 5) enough();
      });
    };
    trickle(a, b);
    await negotiate(a, b);
    const { errorType, keyID, frame } = await unread;
    assert.deepEqual([errorType, keyID], ['authentication', 3n]);
    assert.ok(frame instanceof (kind === 'audio' ? RTCEncodedAudioFrame : RTCEncodedVideoFrame));
    assert.deepEqual(seen, [], 'nothing is shown that is not authentic');
    await decryptor.addDecryptionKey(await secret(), 3);
    await shown;
    // The synthetic sources: silence, and a picture of VP8.
    for (const { data, codec } of seen) {
      if (kind === 'audio') assert.ok(data.length < 20, `${data.length} bytes`);
      else if (codec === 'VP8' && (data[0] & 1) === 0) assert.deepEqual([...data.subarray(3, 6)], [0x9d, 0x01, 0x2a]);
    }
    assert.ok(frame.data.byteLength > Math.min(...seen.map(({ data }) => data.length)));
  });
}

test('an error event from a script', () => {
  assert.throws(() => new SFrameTransformErrorEvent('error'), TypeError);
  for (const wrong of [{}, { errorType: 'keyID' }, { errorType: 'other', frame: {} }, { errorType: 'syntax', frame: {} }]) {
    assert.throws(() => new SFrameTransformErrorEvent('error', wrong), TypeError);
  }
});
