// The runner itself: a row must be red whenever either side, or what they counted, is. `node --test tests/interop/`
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peersOwnRace } from './catalog.mjs';
import { Pair } from './operations.mjs';
import { runPair } from './pair.mjs';
import { behindNat64 } from './translators.mjs';

const GREEN = { ok: true, err: null, n: 3, video: { frames: 9, codec: 'video/VP8' }, audio: { packets: 9 } };

test('a pair is green when both sides say ok', async () => {
  const run = await check(GREEN, GREEN);
  assert.equal(run.ok, true, run.why);
});

test('a pair is red when the answerer alone is not ok, and says why', async () => {
  const run = await check(GREEN, { ok: false, err: 'no path' });
  assert.match(run.why, /^answerer: no path$/);
});

test('a pair is red when fewer messages came back than were asked for', async () => {
  const run = await check({ ...GREEN, n: 2 }, GREEN);
  assert.match(run.why, /2 of 3 messages/);
});

test('a media pair is red when one side counted no frames', async () => {
  const run = await check(GREEN, { ...GREEN, video: { frames: 0 } }, { codec: 'vp8' });
  assert.match(run.why, /answerer: no video frames/);
});

test('a media pair is red when another codec was received', async () => {
  const run = await check(GREEN, GREEN, { codec: 'h264' });
  assert.match(run.why, /received vp8, not h264/);
});

test('a simulcast is red when a stream of it did not come', async () => {
  const streams = { q: 20, h: 20, f: 20 };
  const answer = (streams) => ({ ...GREEN, video: { ...GREEN.video, streams } });
  const simulcast = (answer) => runPair(peer('offerer', 'offer', GREEN), { ...peer('answerer', 'answer', answer), ours: true }, limits({ codec: 'vp8', simulcast: true }));
  assert.equal((await simulcast(answer(streams))).why, null);
  assert.match((await simulcast(answer({ ...streams, h: 0 }))).why, /no frames of the streams h/);
  assert.match((await simulcast(GREEN)).why, /no frames of the streams q, h, f/);
});

test('a pair is red when ours says ok and exits with another code', async () => {
  const run = await check(GREEN, GREEN, { ours: true, exit: 3 });
  assert.match(run.why, /offerer: RESULT was ok, but its exit code was 3/);
});

test('a side that dies without a RESULT is named with its last words', async () => {
  const run = await runPair(side('offerer', 'console.error("broken pipe dream"); process.exit(7)'), peer('answerer', 'answer', GREEN), limits());
  assert.match(run.why, /offerer: no RESULT \(exit 7\); stderr: broken pipe dream/);
});

test('a side that hangs is ended at the deadline', async () => {
  const run = await runPair(peer('offerer', 'offer', GREEN), side('answerer', 'setInterval(() => {}, 1000)'), limits({ deadlineMs: 1500 }));
  assert.match(run.why, /^deadline of 1.5 s: .*answerer: no RESULT \(ended by SIGTERM\)/);
});

test('a run is done again only when the peer itself reports its own race', () => {
  const err = 'error while adding remote description: Got a remote candidate without ICE transport';
  const row = { offerer: 'ndc', answerer: 'ours' };
  assert.equal(peersOwnRace(row, { ok: false, offer: { ok: false, err }, answer: null }), true);
  assert.equal(peersOwnRace(row, { ok: false, offer: { ok: false, err: 'timeout' }, answer: { ok: false, err } }), false);
  assert.equal(peersOwnRace({ offerer: 'wrtc', answerer: 'ours' }, { ok: false, offer: { ok: false, err }, answer: null }), false);
});

test('an address behind a NAT64 is the prefix and its four bytes', () => {
  assert.equal(behindNat64('192.88.99.1'), '64:ff9b::c058:6301');
  assert.equal(behindNat64('10.0.0.9'), '64:ff9b::a00:9');
});

function check(offer, answer, { codec = null, ours = false, exit = 0 } = {}) {
  return runPair({ ...peer('offerer', 'offer', offer, exit), ours }, peer('answerer', 'answer', answer), limits({ codec }));
}

function limits(other) {
  return { pings: 3, codec: null, deadlineMs: 10_000, ...other };
}

/** A process that exchanges descriptions as a peer does, gives this result and stays until its stdin ends. */
function peer(name, role, result, exit = 0) {
  return side(name, `
    const describe = () => console.log(JSON.stringify({ type: '${role}', sdp: 'v=0' }));
    const lines = require('node:readline').createInterface({ input: process.stdin });
    if ('${role}' === 'offer') describe();
    lines.once('line', () => {
      if ('${role}' === 'answer') describe();
      console.log('RESULT ' + ${JSON.stringify(JSON.stringify(result))});
    });
    lines.on('close', () => process.exit(${exit}));
  `);
}

function side(name, source) {
  return { name, command: [process.execPath, '-e', source] };
}

/** A side of a call that looks as `look(number)` says. */
function standing(name, look) {
  let number = 0;
  return { name, ask: async () => look(number++) };
}

const SECTION = { kind: 'video', mid: '1', rejected: false };
const calm = (own) => ({ signaling: 'stable', connection: 'connected', local: [SECTION], remote: [SECTION], transceivers: [], ...own });
const received = (packets, frames) => calm({ transceivers: [{ mid: '1', kind: 'video', sends: null, packets, frames }] });

function together(actor, other) {
  const pair = new Pair(actor, other, { lacks: () => null });
  pair.patienceMs = 900;
  return pair;
}

test('media comes when packets and pictures do, though their counts may begin anew', async () => {
  const side = standing('side', (number) => (number < 2 ? received(100 + number, 50) : received(number * 3, number)));
  const look = await together(side, side).arrives(side, ['1']);
  assert.ok(look.transceivers[0].packets < 50);
  const idle = standing('side', (number) => received(100 + number, 50));
  await assert.rejects(together(idle, idle).arrives(idle, ['1']), /packets came in 1, and 0 pictures/);
});

test('media has not stopped while packets still come', async () => {
  const [quiet, busy] = [() => received(7, 3), (number) => received(number, 3)].map((look) => standing('side', look));
  await together(quiet, quiet).ceases(quiet, ['1']);
  await assert.rejects(together(busy, busy).ceases(busy, ['1']), /packets still come in 1/);
});

test('sides that see other sections, or more of them than there must be, are red', async () => {
  const before = calm({});
  const [same, other, more] = [calm({}), calm({ remote: [{ ...SECTION, mid: '2' }] }), calm({ local: [SECTION, SECTION], remote: [SECTION, SECTION] })]
    .map((look) => standing('side', () => look));
  await together(same, same).agreed(before);
  await assert.rejects(together(same, other).agreed(before), /other sections/);
  await assert.rejects(together(more, more).agreed(before), /2 sections, not 1/);
});
