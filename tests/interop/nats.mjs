#!/usr/bin/env node
// Ours with each peer through translators of the kernel: every kind at ours with every kind at the peer, and each peer
// where there is IPv6, where there is nothing else, and where packets are lost. Needs root.
//
//   node tests/interop/nats.mjs --ours target/debug/twocan [--lab target/debug/twocan-lab] [--server coturn|ours]
//        [--left KIND,...] [--right KIND,...] [--rows NAME,...] [--peers A,B,...] [--page FILE]
//
// Every peer stands once in every row and column of the kinds. With `--left` or `--right` there are no other rows, unless
// they are named by `--rows`; with `--rows` alone there are no kinds. Ends with `N passed, N failed, N skipped` alone on
// the last line.
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { PEERS, notRunnable } from './catalog.mjs';
import { runPair, stopAll } from './pair.mjs';
import { TRANSLATORS, Translators, behindNat64 } from './translators.mjs';

const KINDS = Object.keys(TRANSLATORS);
/** As many as there are kinds. libjuice, in `ndc`, reaches a relay by UDP alone. */
const ORDER = ['chromium', 'aiortc', 'wrtc', 'pion3', 'ndc', 'firefox'];
const ONLY_UDP = ['ndc'];
/** aiortc asks the first TURN server of its configuration alone: it is told the one that it can reach. */
const ONE_SERVER = ['aiortc'];
/** Rows of each peer: what is at ours and at the peer, what is lost between ours and its translator, and which path must win. */
const ROWS = {
  'both families': {
    text: 'both have IPv4 behind a port-restricted translator and IPv6 without any, which must win',
    left: { kind: 'port-restricted', families: 'dual' }, right: { kind: 'port-restricted', families: 'dual' }, want: 'IPv6',
  },
  'NAT64': {
    text: 'ours has IPv6 alone, and IPv4 behind `64:ff9b::/96` (TAYGA, then a port-restricted translator); the peer has IPv4 alone, behind a port-restricted translator; no way but a relay is left',
    left: { kind: 'port-restricted', families: 'nat64' }, right: { kind: 'port-restricted', families: 'v4' }, want: 'relay',
  },
  'open NAT64': {
    text: 'the same with a full cone after TAYGA: the peer reaches the address that the server told ours, and no relay must win',
    left: { kind: 'full-cone', families: 'nat64' }, right: { kind: 'port-restricted', families: 'v4' }, want: 'direct',
  },
  'loss': {
    text: 'port-restricted translators, and 5 % of all packets lost each way between ours and its own',
    left: { kind: 'port-restricted', families: 'v4' }, right: { kind: 'port-restricted', families: 'v4' }, lost: 50, want: 'direct',
  },
};
const PINGS = 10;
const DEADLINE_MS = 70_000;

const PAGE = `# Translators of the kernel

Ours behind one address translator of Linux, another peer behind another, a STUN and TURN server between them, each in
a network namespace of its own: \`cargo xtask nats\` writes this page. A cell says which peer, which pair won (our local
candidate and the remote one), and how long the channel took to open once the answer was set. A cell passes when data and,
where the peer has it, media flow, by a relay where nothing else can be and without one elsewhere.

${Object.entries(TRANSLATORS).map(([kind, text]) => `- *${kind}*: ${text}.`).join('\n')}

The rows below the kinds are of each peer:

${Object.entries(ROWS).map(([row, { text }]) => `- *${row}*: ${text}.`).join('\n')}

Behind a NAT64 ours is told the server as \`64:ff9b::/96\` with its IPv4 address inside, which is what DNS64 would make of
its name.
`;

const options = parse(process.argv.slice(2));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, async () => { await stopAll(); process.exit(1); });

const cells = [];
for (const left of options.left) for (const right of options.right) {
  const turn = KINDS.indexOf(left) + KINDS.indexOf(right);
  const peer = options.peers[turn % options.peers.length];
  const side = (kind) => ({ kind, families: 'v4' });
  cells.push({ left, right, peer, name: `${left} x ${right}`, sides: { left: side(left), right: side(right) }, want: expected({ left, right, peer }), lost: 0, offers: turn % 2 === 0 });
}
for (const [at, row] of options.rows.entries()) for (const peer of options.peers) {
  const { left, right, want, lost = 0 } = ROWS[row];
  cells.push({ row, peer, name: row, sides: { left, right }, want, lost, offers: (at + options.peers.indexOf(peer)) % 2 === 0 });
}
for (const cell of cells) {
  Object.assign(cell, await runCell(cell));
  console.log(`${`${cell.name}, ${cell.peer}`.padEnd(48)} ${cell.state.padEnd(8)} ${cell.path ?? ''} ${cell.openMs === undefined ? '' : `open ${cell.openMs} ms`} ${cell.why ?? ''}`);
}
const table = [...(options.left.length > 0 ? [markdown(cells)] : []), ...(options.rows.length > 0 ? [rowsMarkdown(cells)] : [])].join('\n');
console.log(`\n${table}`);
if (options.page) writeFileSync(options.page, `${PAGE}\n${table}`);
const count = (state) => cells.filter((cell) => cell.state === state).length;
console.log(`${count('pass')} passed, ${count('FAIL')} failed, ${count('NOT RUN')} skipped`);
process.exit(count('FAIL') > 0 ? 1 : 0);

/** Which path must win. */
function expected({ left, right, peer }) {
  if (right === 'udp-blocked' && ONLY_UDP.includes(peer)) return 'none';
  // Ours listens for TCP as well, and some peers open streams by ICE.
  if (left === 'none' && right === 'udp-blocked') return 'either';
  if ([left, right].includes('udp-blocked')) return 'relay';
  const guarded = (kind) => kind === 'symmetric' || kind === 'port-restricted';
  const relayed = (left === 'symmetric' && guarded(right)) || (right === 'symmetric' && guarded(left));
  return relayed ? 'relay' : 'direct';
}

async function runCell(cell) {
  const reason = notRunnable(cell.peer);
  if (reason) return { state: 'NOT RUN', why: reason };
  if (cell.want === 'none') return { state: 'NOT RUN', why: `${cell.peer} has no TURN over TCP` };
  let network;
  try {
    network = await Translators.open(cell.sides, { lost: cell.lost, lab: options.lab });
    await network.serve(options.server === 'ours' ? options.ours : null);
  } catch (error) {
    network?.close();
    return { state: 'NOT RUN', why: error.message };
  }
  try {
    const media = PEERS[cell.peer].media.includes('vp8');
    const words = (role, urls) => [role, ...(media ? ['--media'] : []), '--pings', String(PINGS), ...urls.flatMap((url) => ['--ice-server', url])];
    const [own, far] = ['left', 'right'].map((side) => network.urls(side));
    const known = cell.right === 'udp-blocked' && ONE_SERVER.includes(cell.peer) ? [far.tcp] : Object.values(far);
    const ours = (role) => ({ name: 'ours', ours: true, command: [...network.prefix('left'), options.ours, 'peer', ...words(role, Object.values(own))] });
    const theirs = (role) => ({ name: cell.peer, ours: false, command: [...network.prefix('right'), ...PEERS[cell.peer].command, ...words(role, known), '--timeout', '40'] });
    const pair = cell.offers ? [ours('offer'), theirs('answer')] : [theirs('offer'), ours('answer')];
    const run = await runPair(...pair, { pings: PINGS, codec: media ? 'vp8' : null, deadlineMs: DEADLINE_MS });
    if (!run.ok) return { state: 'FAIL', why: `${run.why}${options.verbose ? `\n${JSON.stringify(run.stderr, null, 1)}` : ''}` };
    const { local, remote } = (cell.offers ? run.offer : run.answer).pair;
    const wrong = unlike(cell.want, local, remote, network);
    return { state: wrong ? 'FAIL' : 'pass', path: `${local.type}/${remote.type}`, openMs: run.offer.open_ms, why: wrong };
  } finally {
    network.close();
  }
}

/** What is wrong about the pair that won, or null. */
function unlike(want, local, remote, { server }) {
  const relayed = [local.type, remote.type].includes('relay') || [server, behindNat64(server)].includes(remote.address);
  const over = [local, remote].every((end) => end.address.includes(':')) && !remote.address.startsWith('64:ff9b:') ? 'IPv6' : 'IPv4';
  const right = {
    either: true,
    relay: relayed,
    direct: !relayed,
    IPv6: !relayed && over === 'IPv6',
  }[want];
  return right ? null : `expected ${want}, not ${relayed ? 'relay' : 'direct'} over ${over}`;
}

function markdown(cells) {
  const columns = options.right;
  const lines = [`| ours behind | ${columns.join(' | ')} |`, `|---|${columns.map(() => '---').join('|')}|`];
  for (const left of options.left) {
    const own = columns.map((right) => {
      const cell = cells.find((each) => each.left === left && each.right === right);
      return cell.state === 'pass' ? `${cell.peer}: ${cell.path}, ${Math.round(cell.openMs)} ms` : `${cell.peer}: ${cell.state}`;
    });
    lines.push(`| ${left} | ${own.join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}

function rowsMarkdown(cells) {
  const lines = [`| row | ${options.peers.join(' | ')} |`, `|---|${options.peers.map(() => '---').join('|')}|`];
  for (const row of options.rows) {
    const own = options.peers.map((peer) => {
      const cell = cells.find((each) => each.row === row && each.peer === peer);
      return cell.state === 'pass' ? `${cell.path}, ${Math.round(cell.openMs)} ms` : cell.state;
    });
    lines.push(`| ${row} | ${own.join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}

function parse(words) {
  const options = { ours: null, lab: null, server: 'coturn', left: null, right: null, rows: null, peers: ORDER, page: null, verbose: false };
  const usage = (why) => {
    console.error(`${why}\nusage: nats.mjs --ours TWOCAN [--lab TWOCAN-LAB] [--server coturn|ours] [--left KINDS] [--right KINDS] [--rows NAMES] [--peers NAMES] [--page FILE] [--verbose]\nkinds: ${KINDS.join(', ')}\nrows: ${Object.keys(ROWS).join(', ')}`);
    process.exit(2);
  };
  const list = (text, allowed) => {
    const chosen = text.split(',');
    const unknown = chosen.find((each) => !allowed.includes(each));
    return unknown === undefined ? chosen : usage(`${unknown} is none of ${allowed.join(', ')}`);
  };
  for (let at = 0; at < words.length; at++) {
    const value = () => words[++at] ?? usage(`${words[at - 1]} needs a value`);
    if (words[at] === '--ours') options.ours = resolve(value());
    else if (words[at] === '--lab') options.lab = resolve(value());
    else if (words[at] === '--rows') options.rows = list(value(), Object.keys(ROWS));
    else if (words[at] === '--server') options.server = list(value(), ['coturn', 'ours'])[0];
    else if (words[at] === '--left') options.left = list(value(), KINDS);
    else if (words[at] === '--right') options.right = list(value(), KINDS);
    else if (words[at] === '--peers') options.peers = list(value(), Object.keys(PEERS));
    else if (words[at] === '--page') options.page = value();
    else if (words[at] === '--verbose') options.verbose = true;
    else usage(`unknown argument ${words[at]}`);
  }
  const [hasKinds, hasRows] = [options.left !== null || options.right !== null, options.rows !== null];
  options.left ??= hasRows && !hasKinds ? [] : KINDS;
  options.right ??= KINDS;
  options.rows ??= hasKinds ? [] : Object.keys(ROWS);
  return options.ours ? options : usage('--ours is needed');
}
