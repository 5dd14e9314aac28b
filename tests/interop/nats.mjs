#!/usr/bin/env node
// Ours with each peer through translators of the kernel, every kind at ours with every kind at the peer. Needs root.
//
//   node tests/interop/nats.mjs --ours target/debug/twocan [--server coturn|ours] [--left KIND,...] [--right KIND,...]
//        [--peers A,B,...] [--page FILE]
//
// Every peer stands once in every row and column. Ends with `N passed, N failed, N skipped` alone on the last line.
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { PEERS, notRunnable } from './catalog.mjs';
import { runPair, stopAll } from './pair.mjs';
import { TRANSLATORS, Translators } from './translators.mjs';

const KINDS = Object.keys(TRANSLATORS);
/** As many as there are kinds. libjuice, in `ndc`, reaches a relay by UDP alone. */
const ORDER = ['chromium', 'aiortc', 'wrtc', 'pion3', 'ndc', 'firefox'];
const ONLY_UDP = ['ndc'];
/** aiortc asks the first TURN server of its configuration alone: it is told the one that it can reach. */
const ONE_SERVER = ['aiortc'];
const PINGS = 10;
const DEADLINE_MS = 70_000;

const PAGE = `# Translators of the kernel

Ours behind one address translator of Linux, another peer behind another, a STUN and TURN server between them, each in
a network namespace of its own: \`cargo xtask nats\` writes this page. A cell says which peer, which pair won (our local
candidate and the remote one), and how long the channel took to open once the answer was set. A cell passes when data and,
where the peer has it, media flow, by a relay where nothing else can be and without one elsewhere.

${Object.entries(TRANSLATORS).map(([kind, text]) => `- *${kind}*: ${text}.`).join('\n')}
`;

const options = parse(process.argv.slice(2));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, async () => { await stopAll(); process.exit(1); });

const cells = [];
for (const left of options.left) for (const right of options.right) {
  const peer = options.peers[(KINDS.indexOf(left) + KINDS.indexOf(right)) % options.peers.length];
  const cell = await runCell({ left, right, peer });
  cells.push(cell);
  console.log(`${`${left} x ${right}, ${peer}`.padEnd(48)} ${cell.state.padEnd(8)} ${cell.path ?? ''} ${cell.openMs === undefined ? '' : `open ${cell.openMs} ms`} ${cell.why ?? ''}`);
}
const table = markdown(cells);
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
  if (reason) return { ...cell, state: 'NOT RUN', why: reason };
  const want = expected(cell);
  if (want === 'none') return { ...cell, state: 'NOT RUN', why: `${cell.peer} has no TURN over TCP` };
  let network;
  try {
    network = Translators.open(cell.left, cell.right);
    const servers = await network.serve(options.server === 'ours' ? options.ours : null);
    // By turns, so that both roles are seen.
    const offers = (KINDS.indexOf(cell.left) + KINDS.indexOf(cell.right)) % 2 === 0;
    const media = PEERS[cell.peer].media.includes('vp8');
    const words = (role, urls) => [role, ...(media ? ['--media'] : []), '--pings', String(PINGS), ...urls.flatMap((url) => ['--ice-server', url])];
    const all = Object.values(servers);
    const known = cell.right === 'udp-blocked' && ONE_SERVER.includes(cell.peer) ? [servers.tcp] : all;
    const ours = (role) => ({ name: 'ours', ours: true, command: [...network.prefix('left'), options.ours, 'peer', ...words(role, all)] });
    const theirs = (role) => ({ name: cell.peer, ours: false, command: [...network.prefix('right'), ...PEERS[cell.peer].command, ...words(role, known), '--timeout', '40'] });
    const run = await runPair(...(offers ? [ours('offer'), theirs('answer')] : [theirs('offer'), ours('answer')]), { pings: PINGS, codec: media ? 'vp8' : null, deadlineMs: DEADLINE_MS });
    if (!run.ok) return { ...cell, state: 'FAIL', why: `${run.why}${options.verbose ? `\n${JSON.stringify(run.stderr, null, 1)}` : ''}` };
    const result = offers ? run.offer : run.answer;
    const { local, remote } = result.pair;
    const path = `${local.type}/${remote.type}`;
    const relayed = [local.type, remote.type].includes('relay') || remote.address === '203.0.113.1';
    const right = want === 'either' || relayed === (want === 'relay');
    return { ...cell, state: right ? 'pass' : 'FAIL', path, openMs: run.offer.open_ms, why: right ? null : `expected ${want}` };
  } catch (error) {
    return { ...cell, state: 'NOT RUN', why: error.message };
  } finally {
    network?.close();
  }
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

function parse(words) {
  const options = { ours: null, server: 'coturn', left: KINDS, right: KINDS, peers: ORDER, page: null, verbose: false };
  const usage = (why) => {
    console.error(`${why}\nusage: nats.mjs --ours TWOCAN [--server coturn|ours] [--left KINDS] [--right KINDS] [--peers NAMES] [--page FILE] [--verbose]\nkinds: ${KINDS.join(', ')}`);
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
    else if (words[at] === '--server') options.server = list(value(), ['coturn', 'ours'])[0];
    else if (words[at] === '--left') options.left = list(value(), KINDS);
    else if (words[at] === '--right') options.right = list(value(), KINDS);
    else if (words[at] === '--peers') options.peers = list(value(), Object.keys(PEERS));
    else if (words[at] === '--page') options.page = value();
    else if (words[at] === '--verbose') options.verbose = true;
    else usage(`unknown argument ${words[at]}`);
  }
  return options.ours ? options : usage('--ours is needed');
}
