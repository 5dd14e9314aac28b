#!/usr/bin/env node
// One-way calls over bad links between real ends, in network namespaces: browsers among themselves as the reference,
// ours to them and they to ours. Needs root.
//
//   node tests/interop/links.mjs --ours target/debug/twocan --lab target/debug/twocan-lab [--browsers chromium,firefox]
//        [--links steady,...] [--repeat N] [--at-once N] [--page FILE] [--json FILE] [--event-logs DIR]
//
// Into the folder of --event-logs goes what ours decided, for `twocan plot`.
// Ends with `N rows, N behind the reference, N failed` alone on the last line; exit code 0 when no run failed.
import { readFileSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PEERS, notRunnable } from './catalog.mjs';
import { ADDRESSES, Link } from './link.mjs';
import { runPair, stopAll } from './pair.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/** Figures are taken in this part of a call, in seconds after the descriptions were exchanged; events come at its beginning. */
const FROM_S = 10;
const TO_S = 40;
/** How long browsers may take to start, and peers to say what they saw. */
const BEYOND_MS = 45_000;
const PINGS = 2;

const HALF = { delay_ms: 50 };
const STEADY = { ...HALF, rate_kbps: 2_000, queue_ms: 300 };
const at = (s, right) => ({ s, change: { right } });

/** `right` is the way of the media, `left` the way back; `events` change it, or take the first of two addresses from the end that `moves`. The links of docs/media.md, as far as they can be had here. */
export const LINKS = {
  'steady': { name: 'steady', right: STEADY, left: HALF },
  'fall': { name: 'fall from 3 to 0.5 Mbit/s, RTT 50 ms', right: { delay_ms: 25, rate_kbps: 3_000, queue_ms: 300 }, left: { delay_ms: 25 }, events: [at(FROM_S, { delay_ms: 25, rate_kbps: 500, queue_ms: 300 })] },
  'back': { name: 'from 0.5 to 3 Mbit/s, RTT 50 ms', right: { delay_ms: 25, rate_kbps: 500, queue_ms: 300 }, left: { delay_ms: 25 }, events: [at(FROM_S, { delay_ms: 25, rate_kbps: 3_000, queue_ms: 300 })] },
  'narrow': { name: '500 kbit/s', right: { ...STEADY, rate_kbps: 500 }, left: HALF },
  'loss5': { name: '5 % lost', right: { ...STEADY, loss_per_mille: 50 }, left: HALF },
  'loss10': { name: '10 % lost', right: { ...STEADY, loss_per_mille: 100 }, left: HALF },
  'loss20': { name: '20 % lost', right: { ...STEADY, loss_per_mille: 200 }, left: HALF },
  'bursts': { name: '5 % lost in bursts', right: { ...STEADY, loss_per_mille: 50, bursts: true }, left: HALF },
  'far': { name: 'RTT 400 ms', right: { ...STEADY, delay_ms: 200 }, left: { delay_ms: 200 } },
  'jitter': { name: 'jitter of 30 ms', right: { ...STEADY, jitter_ms: 30 }, left: HALF },
  'deep': { name: 'queue of 1 s', right: { ...STEADY, queue_ms: 1_000 }, left: HALF },
  'shallow': { name: 'queue of 50 ms', right: { ...STEADY, queue_ms: 50 }, left: HALF },
  'back-narrow': { name: 'the way back has 100 kbit/s', right: STEADY, left: { ...HALF, rate_kbps: 100, queue_ms: 300 } },
  'back-loss': { name: 'the way back loses 20 %', right: STEADY, left: { ...HALF, loss_per_mille: 200 } },
  'blackout': { name: '4 s without any link', right: STEADY, left: HALF, events: [{ s: FROM_S, change: { right: { ...STEADY, blackout: true }, left: { ...HALF, blackout: true } } }, { s: FROM_S + 4, change: { right: STEADY, left: HALF } }] },
  'sender-moves': { name: "the sender's address goes, another stays", right: STEADY, left: HALF, events: [{ s: FROM_S, moves: 'left' }] },
  'receiver-moves': { name: "the receiver's address goes, another stays", right: STEADY, left: HALF, events: [{ s: FROM_S, moves: 'right' }] },
  'two': { name: 'two calls at 4 Mbit/s', right: { ...STEADY, rate_kbps: 4_000 }, left: HALF, beside: 'call' },
  'bulk': { name: 'beside a TCP transfer at 4 Mbit/s', right: { ...STEADY, rate_kbps: 4_000 }, left: HALF, beside: 'transfer' },
};

/** What may differ from the reference without being behind it: one run is not another. */
const TOLERANCE = { use: 0.05, frames: 0.05, freezes: 2, share: 0.1 };

const PAGE = `# Calls over bad links, with browsers

One-way calls between two network namespaces, whose packets pass a link of the simulator: \`cargo xtask links\` writes
this page. The source obeys the target rate: ours switches between clips of one scene at 16 rates (\`tests/interop/ladder\`) and fills pictures up to it,
a browser encodes a noisy canvas of the same size, at most at the same 3 Mbit/s; both send Opus as well. VP8, 640x360, 30
pictures a second. A link of 2 Mbit/s, a round trip of 100 ms and a queue of 300 ms, but for what a row says; what changes
changes at ${FROM_S} s, and figures are of the time from ${FROM_S} s to ${TO_S} s after the descriptions were exchanged.

- *in use*: the part of the link's capacity that is taken, headers included.
- *queue*: the waiting time at the link that 95 of 100 moments do not exceed.
- *pictures/s*, *freezes/min*, *frozen*: \`framesDecoded\`, \`freezeCount\` and \`totalFreezesDuration\` of webrtc-stats at the
  receiver. Ours decodes nothing: it counts what could be decoded, as if it were shown 200 ms after the quickest picture.
- *buffer*: \`jitterBufferDelay\` of a picture, that of ours being the 200 ms.
- *share*: where something else is on the link, what the call's pictures have of the link, without headers; of two
  calls, which begin together, the smaller's part of both's. Their other figures are means of both.
- *behind in*: where the row is behind the browser among itself, by more than 5 %, two freezes a minute or a tenth of the
  share.
`;

const NOTES = ['<!-- notes -->\n', '<!-- end of notes -->\n'];

/** What people have written on the page about its rows: it stays where it is. */
function notes(page) {
  let text;
  try {
    text = readFileSync(page, 'utf8');
  } catch {
    return '';
  }
  const [from, to] = NOTES.map((mark) => text.indexOf(mark));
  return from < 0 || to < from ? '' : `${text.slice(from, to + NOTES[1].length)}\n`;
}

const options = parse(process.argv.slice(2));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, async () => { await stopAll(); process.exit(1); });

const results = [];
for (const browser of options.browsers) {
  const reason = notRunnable(browser);
  if (reason) {
    console.log(`NOT RUN: ${browser}: ${reason}`);
    continue;
  }
  for (const key of options.links) {
    for (const [from, to] of [[browser, browser], ['ours', browser], [browser, 'ours']]) results.push({ browser, key, from, to, runs: [] });
  }
}
const due = results.flatMap((result) => Array.from({ length: options.repeat }, (_, round) => ({ result, seed: round + 1 })));
// Those of a batch begin together: a browser that starts takes the processor from a call that goes on.
while (due.length > 0) {
  await Promise.all(due.splice(0, options.atOnce).map(async ({ result, seed }) => {
    result.runs.push(await runOnce(result.key, result.from, result.to, seed));
    if (result.runs.length < options.repeat) return;
    result.middle = middle(result.runs.filter((run) => run.ok));
    console.log(line(result));
  }));
}
const rows = compared(results);
const table = markdown(rows);
console.log(`\n${table}`);
if (options.page) writeFileSync(options.page, `${PAGE}\n${notes(options.page)}${table}\nRuns of each: ${options.repeat}; the figures are medians.\n`);
if (options.json) writeFileSync(options.json, `${JSON.stringify(results, null, 1)}\n`);
const failed = results.filter((result) => result.runs.some((run) => !run.ok)).length;
console.log(`${rows.length} rows, ${rows.filter((row) => row.behind.length > 0).length} behind the reference, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

async function runOnce(key, from, to, seed) {
  const conditions = LINKS[key];
  const log = (call) => options.eventLogs && resolve(options.eventLogs, `${key}-${from}-${to}-${seed}-${call}.log`);
  const link = await Link.open(options.lab, seed);
  const timers = [];
  let transfer = null;
  try {
    link.change({ right: conditions.right, left: conditions.left });
    for (const { moves } of conditions.events ?? []) if (moves) link.addOther(moves);
    const happen = ({ change, moves }) => moves ? link.removeFirst(moves) : link.change(change);
    let start = null;
    const exchanged = () => {
      if (start === null) {
        for (const event of conditions.events ?? []) timers.push(setTimeout(happen, event.s * 1000, event));
        if (conditions.beside === 'transfer') transfer = bulk(link);
      }
      start = performance.now();
    };
    const call = (number) => runPair(side(from, 'offer', link.prefix('left'), log(number)), side(to, 'answer', link.prefix('right'), log(number)), {
      pings: PINGS, codec: null, exchanged, deadlineMs: TO_S * 1000 + BEYOND_MS,
      must: (name, result) => result.window ? null : 'nothing said about the window',
    });
    const runs = await Promise.all(conditions.beside === 'call' ? [call(1), call(2)] : [call(1)]);
    const bad = runs.find((run) => !run.ok);
    if (bad) return { ok: false, why: bad.why };
    if (transfer?.failed) return { ok: false, why: `the transfer: ${transfer.failed}` };
    const windows = runs.map((run) => run.answer.window);
    return { ok: true, ...figures(link.reports, start, windows), ...share(conditions, windows) };
  } finally {
    timers.forEach(clearTimeout);
    transfer?.stop();
    await link.close();
  }
}

/** A TCP transfer from `left` to `right` that has no end. */
function bulk(link) {
  const own = { failed: null, children: [], stop: () => own.children.forEach((child) => child.kill('SIGKILL')) };
  const start = (where, words) => {
    const [program, ...before] = link.prefix(where);
    const child = spawn(program, [...before, process.execPath, resolve(here, 'bulk.mjs'), ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.on('exit', (code) => { if (code !== null) own.failed ??= `${words[0]} ended with ${code}`; });
    own.children.push(child);
    return child;
  };
  start('right', ['receive', ADDRESSES.right]).stdout.once('data', (port) => start('left', ['send', ADDRESSES.right, String(port).trim()]));
  return own;
}

function side(name, role, prefix, log) {
  const words = [role, '--media', '--one-way', '--pings', String(PINGS), '--media-from', String(FROM_S), '--media-seconds', String(TO_S)];
  if (name === 'ours') return { name, ours: true, command: [...prefix, options.ours, 'peer', ...words, ...(role === 'offer' ? ['--ladder', resolve(here, 'ladder')] : []), ...(log ? ['--event-log', log] : [])] };
  return { name, ours: false, command: [...prefix, ...PEERS[name].command, ...words, '--timeout', String(TO_S + 30)] };
}

/** What the link carried in the window, and what the receivers made of it. */
function figures(reports, start, windows) {
  const within = reports.filter(({ at }) => at >= start + FROM_S * 1000 && at <= start + TO_S * 1000);
  const [first, last] = [within[0].right, within.at(-1).right];
  const waits = within.map(({ right }) => right.queue_ms).sort((a, b) => a - b);
  return {
    kbps: ((last.bytes - first.bytes) * 8) / (TO_S - FROM_S) / 1000,
    queue: waits[Math.floor(waits.length * 0.95)],
    frames: mean(windows, ({ seconds, video }) => video.frames_decoded / seconds),
    freezes: mean(windows, ({ seconds, video }) => (video.freezes * 60) / seconds),
    frozen: mean(windows, ({ seconds, video }) => video.frozen_seconds / seconds),
    buffer: mean(windows, ({ video }) => video.buffered_seconds * 1000),
    audioLost: mean(windows, ({ audio }) => audio.packets_lost / Math.max(1, audio.packets + audio.packets_lost)),
  };
}

/** What a call has where something else is on the link. */
function share(conditions, windows) {
  const kbps = windows.map(({ seconds, video }) => (video.bytes * 8) / seconds / 1000);
  if (conditions.beside === 'call') return { share: Math.min(...kbps) / (kbps[0] + kbps[1]) };
  return conditions.beside ? { share: kbps[0] / capacity(conditions) } : {};
}

function mean(list, figure) {
  return list.reduce((sum, each) => sum + figure(each), 0) / list.length;
}

/** Of each figure the median. */
function middle(runs) {
  if (runs.length === 0) return null;
  const names = Object.keys(runs[0]).filter((name) => name !== 'ok');
  return Object.fromEntries(names.map((name) => [name, runs.map((run) => run[name]).sort((a, b) => a - b)[runs.length >> 1]]));
}

/** Capacity in the window, in kbit/s: events change it at its beginning, or not at all. */
function capacity({ right, events }) {
  const last = events?.at(-1).change?.right ?? right;
  return last.rate_kbps;
}

function compared(results) {
  const rows = [];
  for (const result of results) {
    if (result.from === result.to || !result.middle) continue;
    const reference = results.find((other) => other.key === result.key && other.browser === result.browser && other.from === other.to)?.middle;
    const { use, frames, freezes, share } = TOLERANCE;
    const behind = !reference ? ['no reference'] : [
      ...(result.middle.kbps < reference.kbps * (1 - use) ? ['use'] : []),
      ...(result.middle.frames < reference.frames * (1 - frames) ? ['frames'] : []),
      ...(result.middle.freezes > reference.freezes + freezes ? ['freezes'] : []),
      ...(result.middle.share < reference.share - share ? ['share'] : []),
    ];
    rows.push({ ...result, reference, behind });
  }
  return rows;
}

function percent(value) {
  return `${Math.round(value * 100)} %`;
}

function cells({ key }, own) {
  if (!own) return Array(7).fill('-');
  return [percent(own.kbps / capacity(LINKS[key])), `${own.queue.toFixed(0)} ms`, own.frames.toFixed(1), own.freezes.toFixed(1), percent(own.frozen), `${own.buffer.toFixed(0)} ms`, own.share === undefined ? '' : percent(own.share)];
}

function line(result) {
  const head = `${LINKS[result.key].name}: ${result.from} > ${result.to}`.padEnd(60);
  const bad = result.runs.find((run) => !run.ok);
  const [use, queue, frames, freezes, frozen, buffer, share] = cells(result, result.middle);
  return `${head} use ${use}, queue ${queue}, ${frames} pictures/s, ${freezes} freezes/min, frozen ${frozen}, buffer ${buffer}${share ? `, share ${share}` : ''}${bad ? `  FAILED: ${bad.why}` : ''}`;
}

function markdown(rows) {
  const lines = ['| link | call | in use | queue | pictures/s | freezes/min | frozen | buffer | share | behind in |', '|---|---|---|---|---|---|---|---|---|---|'];
  let named = '';
  for (const row of rows) {
    const name = `${LINKS[row.key].name} ${row.browser}`;
    if (name !== named) lines.push(`| ${LINKS[row.key].name} | ${row.browser} > ${row.browser} | ${cells(row, row.reference).join(' | ')} | |`);
    named = name;
    lines.push(`| | ${row.from} > ${row.to} | ${cells(row, row.middle).join(' | ')} | ${row.behind.join(', ')} |`);
  }
  return `${lines.join('\n')}\n`;
}

function parse(words) {
  const options = { ours: null, lab: null, browsers: ['chromium'], links: Object.keys(LINKS), repeat: 1, atOnce: 1, page: null, json: null, eventLogs: null };
  const usage = (why) => {
    console.error(`${why}\nusage: links.mjs --ours TWOCAN --lab TWOCAN-LAB [--browsers chromium,firefox] [--links ${Object.keys(LINKS).join(',')}] [--repeat N] [--at-once N] [--page FILE] [--json FILE] [--event-logs DIR]`);
    process.exit(2);
  };
  const list = (text, allowed, name) => {
    const chosen = String(text ?? '').split(',');
    const unknown = chosen.find((each) => !allowed.includes(each));
    return unknown === undefined ? chosen : usage(`${name}: ${unknown} is none of ${allowed.join(', ')}`);
  };
  for (let at = 0; at < words.length; at++) {
    const value = () => words[++at] ?? usage(`${words[at - 1]} needs a value`);
    if (words[at] === '--ours') options.ours = resolve(value());
    else if (words[at] === '--lab') options.lab = resolve(value());
    else if (words[at] === '--browsers') options.browsers = list(value(), ['chromium', 'firefox'], '--browsers');
    else if (words[at] === '--links') options.links = list(value(), Object.keys(LINKS), '--links');
    else if (words[at] === '--repeat') options.repeat = Math.max(1, Number(value()) || usage('--repeat needs a number'));
    else if (words[at] === '--at-once') options.atOnce = Math.max(1, Number(value()) || usage('--at-once needs a number'));
    else if (words[at] === '--page') options.page = value();
    else if (words[at] === '--json') options.json = value();
    else if (words[at] === '--event-logs') options.eventLogs = value();
    else usage(`unknown argument ${words[at]}`);
  }
  if (!options.ours || !options.lab) usage('--ours and --lab are needed');
  return options;
}
