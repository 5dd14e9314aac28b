import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channels, negotiate, once, pair, record, trickle } from './pair.mjs';

test('texts, bytes and blobs arrive in their order, as what they are', async (t) => {
  const { ours, theirs } = await channels(t, { protocol: 'chat' }, 'naïve');
  assert.equal(theirs.label, 'naïve');
  assert.equal(theirs.protocol, 'chat');
  assert.equal(theirs.readyState, 'open');
  assert.equal(theirs.binaryType, 'arraybuffer');
  const got = [];
  const all = once(theirs, 'message', ({ data }) => got.push(data) === 6);
  ours.send('text');
  ours.send(new Blob([new Uint8Array([1, 2])]));
  ours.send(new Uint8Array([0, 3, 4]).subarray(1));
  ours.send(new Uint8Array([5]).buffer);
  ours.send('');
  ours.send('\ud800');
  await all;
  assert.deepEqual(got.map((data) => (typeof data === 'string' ? data : [...new Uint8Array(data)])), [
    'text', [1, 2], [3, 4], [5], '', '\ufffd',
  ]);
  theirs.binaryType = 'blob';
  const blob = once(theirs, 'message');
  ours.send(new Uint8Array([9]));
  const { data } = await blob;
  assert.ok(data instanceof Blob);
  assert.deepEqual([...new Uint8Array(await data.arrayBuffer())], [9]);
  theirs.binaryType = 'nonsense';
  assert.equal(theirs.binaryType, 'blob');
});

test('bufferedAmount grows at once, falls later, and its threshold is told', async (t) => {
  const { ours, theirs } = await channels(t);
  ours.bufferedAmountLowThreshold = 10;
  const low = once(ours, 'bufferedamountlow');
  const arrived = once(theirs, 'message', ({ data }) => data === 'end');
  ours.send(new Uint8Array(100_000));
  ours.send(new Uint8Array(100_000));
  ours.send('end');
  assert.equal(ours.bufferedAmount, 200_003);
  await low;
  assert.ok(ours.bufferedAmount <= 10);
  await arrived;
});

test('one side closes, both are told', async (t) => {
  const { ours, theirs } = await channels(t);
  const seen = [record(ours, ['closing', 'close', 'error']), record(theirs, ['closing', 'close', 'error'])];
  const closed = [once(ours, 'close'), once(theirs, 'close')];
  ours.close();
  assert.equal(ours.readyState, 'closing');
  assert.throws(() => ours.send('x'), { name: 'InvalidStateError' });
  await Promise.all(closed);
  assert.deepEqual(seen, [['close'], ['closing', 'close']]);
  assert.deepEqual([ours.readyState, theirs.readyState], ['closed', 'closed']);
  assert.equal(theirs.label, 'data');
});

test('the end of a connection is an error for the channels of the other side alone', async (t) => {
  const { a, ours, theirs } = await channels(t);
  const seen = record(ours, ['close', 'error']);
  const failed = once(theirs, 'error');
  const closed = once(theirs, 'close');
  a.close();
  assert.equal(ours.readyState, 'closed');
  const { error } = await failed;
  assert.equal(error.name, 'OperationError');
  assert.equal(error.errorDetail, 'sctp-failure');
  await closed;
  assert.deepEqual(seen, []);
});

test('ids follow the roles of DTLS as soon as these are agreed', async (t) => {
  const [a, b] = pair(t);
  const first = a.createDataChannel('first');
  const second = a.createDataChannel('second');
  assert.equal(first.id, null);
  await negotiate(a, b);
  // The answerer is the client, which has the even ones.
  assert.deepEqual([first.id, second.id], [1, 3]);
  assert.equal(b.createDataChannel('third').id, 0);
  assert.equal(a.sctp.state, 'connecting');
  assert.equal(a.sctp.maxChannels, null);
  assert.equal(a.sctp.maxMessageSize, 262_144);
  assert.equal(a.sctp.transport.iceTransport.component, 'rtp');
});

test('negotiated channels open without an announcement', async (t) => {
  const [a, b] = pair(t);
  trickle(a, b);
  const init = { negotiated: true, id: 5, ordered: false, maxRetransmits: 0, priority: 'high' };
  const both = [a.createDataChannel('x', init), b.createDataChannel('y', init)];
  b.addEventListener('datachannel', () => assert.fail('announced'));
  const opened = both.map((own) => once(own, 'open'));
  await negotiate(a, b);
  await Promise.all(opened);
  assert.deepEqual(both.map((own) => own.id), [5, 5]);
  const [own] = both;
  assert.deepEqual([own.ordered, own.maxRetransmits, own.maxPacketLifeTime, own.negotiated, own.priority], [
    false, 0, null, true, 'high',
  ]);
  assert.throws(() => a.createDataChannel('z', init), { name: 'OperationError' });
  assert.ok(a.sctp.maxChannels > 0);
});

test('what no channel can be is refused', (t) => {
  const [a] = pair(t);
  const refused = (init) => assert.throws(() => a.createDataChannel('', init), TypeError);
  refused({ negotiated: true });
  refused({ negotiated: true, id: 65535 });
  refused({ id: 65536 });
  refused({ id: -1 });
  refused({ maxRetransmits: 1, maxPacketLifeTime: 1 });
  refused({ maxRetransmits: -1 });
  refused({ protocol: 'p'.repeat(65_536) });
  refused({ priority: 'huge' });
  assert.throws(() => a.createDataChannel('l'.repeat(65_536)), TypeError);
  assert.throws(() => a.createDataChannel(), TypeError);
  const own = a.createDataChannel('', { id: 65535 });
  assert.equal(own.id, null);
  assert.throws(() => own.send('early'), { name: 'InvalidStateError' });
  a.close();
  assert.throws(() => a.createDataChannel(''), { name: 'InvalidStateError' });
});

test('a message longer than the other side takes is a TypeError', async (t) => {
  const { a, ours } = await channels(t);
  assert.throws(() => ours.send(new Uint8Array(a.sctp.maxMessageSize + 1)), TypeError);
});
