#!/usr/bin/env node
// Calls that are negotiated again and again: ours, by the Node package, with each peer, each operation in both directions.
//
//   TWOCAN_NODE_LIBRARY=target/debug/libtwocan_node.so node tests/interop/renegotiation.mjs [--rounds N] [--peers A,B,...]
//        [--operations NAME,...] [--acts ours|peer] [--at-once N] [--page FILE] [--verbose]
//
// One connection goes through all rounds, where the peer can stop a transceiver; what fails is counted, and the next
// operation has a new one. Ends with
// `N passed, N failed, N skipped` alone on the last line: passed are the operations that did in every round.
import { writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { notRunnable, tools } from './catalog.mjs';
import { enterNetwork } from './network.mjs';
import { OPERATIONS, Pair } from './operations.mjs';
import { Side, stopAll } from './talk.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const caller = (name) => [process.execPath, resolve(here, 'peers/caller.mjs'), name];

/**
 * The peers: how each is started, and what it has not. Of `lacks` each is an operation, the side on which it is missing
 * (`acts`, `answers`, or `any`), and why. Whoever lacks `stop` has a new connection for each operation.
 */
const CALLERS = {
  chromium: { command: caller('chromium'), lacks: [] },
  // A rejected section serves it for the same kind alone, which RFC 9429 §5.2.2 does not ask for.
  firefox: { command: caller('firefox'), recyclesKindAlone: true, lacks: [] },
  wrtc: { command: caller('wrtc'), lacks: [] },
  pion3: {
    command: [resolve(tools, 'pion3'), 'call'],
    lacks: [
      ['replace', 'acts', '`ReplaceTrack` goes on with the same source from a random sequence number, whose rollover counter the other side cannot know (RFC 3711 §3.3.1)'],
      ['direction', 'any', 'its transceivers have no setter, and an inactive offer stops one for good (`RTPTransceiver.Stop` in `SetRemoteDescription`)'],
      ['stop', 'any', 'it never rejects a section, and leaves rejected ones out of its answers'],
      ['rollback', 'acts', '`SetLocalDescription` refuses a rollback'],
      ['refusal', 'answers', 'its `SetRemoteDescription` reads a rollback as a description'],
      ['refusal', 'acts', '`SetLocalDescription` refuses a rollback'],
      ['glare', 'acts', 'it takes no offer while its own stands, and has no rollback'],
    ],
  },
  aiortc: {
    command: [resolve(tools, 'py/bin/python'), resolve(here, 'peers/aiortc_call.py')],
    lacks: [
      ['add', 'answers', 'its own offer numbers the formats anew where ours came first (96 was VP8, then Opus), and its receivers stay with the first numbers'],
      ['stop', 'any', 'it never rejects a section, and takes no rejected one: each must have ICE credentials (`RTCPeerConnection.__validate_description`)'],
      ['rollback', 'acts', 'its descriptions are offers and answers alone'],
      ['refusal', 'any', 'its descriptions are offers and answers alone'],
      ['glare', 'acts', 'it takes no offer while its own stands, and has no rollback'],
    ],
  },
};

const PAGE = `# Renegotiation

Ours, by the [Node package](../bindings/node/README.md) as a page's script, with peers that are not ours:
\`cargo xtask renegotiation\` writes this page. A call of data stands; then, in one connection and round after round, each
operation is done by ours (*ours acts*: it offers) and by the peer (*peer acts*). An operation passes when the signaling
state, the sections of all four descriptions and the directions on both sides are as they must be, and when media comes
and stops as they say, as the receiving side counts it: packets of sound, decoded pictures and their shape. After each
operation everything is stopped, and a message goes over the data channel and back; a peer that cannot stop a transceiver
has a new connection for each. Werift, libdatachannel and GStreamer are not among the peers yet.

${Object.entries(OPERATIONS).map(([name, { text }]) => `- *${name}*: ${text}.`).join('\n')}
`;

const options = parse(process.argv.slice(2));
const network = enterNetwork();
process.on('exit', () => network.close());
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, async () => { await stopAll(); process.exit(1); });

console.log(`renegotiation: ${options.rounds} rounds, on ${network.describe}`);
const waiting = options.peers.map((peer) => ({ peer, acts: [...options.acts] }));
const done = new Map();
const worker = async () => {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    for (const acts of next.acts) done.set(`${next.peer} ${acts}`, await runPeer(next.peer, acts));
  }
};
await Promise.all(Array.from({ length: options.atOnce }, worker));
const cells = options.peers.flatMap((peer) => options.acts.flatMap((acts) => done.get(`${peer} ${acts}`)));
const table = `${markdown()}${remarks()}`;
console.log(`\n${table}`);
if (options.page) writeFileSync(options.page, `${PAGE}\n${table}`);
const count = (...states) => cells.filter(({ state }) => states.includes(state)).length;
console.log(`${count('pass')} passed, ${count('FAIL')} failed, ${count('NOT RUN', 'NOT SUPPORTED BY PEER')} skipped`);
process.exit(count('FAIL') > 0 ? 1 : 0);

/** Every operation with one peer, in one direction. */
async function runPeer(peer, acts) {
  const own = options.operations.map((operation) => ({ peer, acts, operation, passed: 0, faults: [], state: null, why: null }));
  const reason = notRunnable(peer);
  const lacked = (operation, isPeer) => CALLERS[peer].lacks.find(([name, side]) => name === operation && (side === 'any' || (side === 'acts') === isPeer))?.[2] ?? null;
  for (const cell of own) {
    cell.why = reason ?? lacked(cell.operation, acts === 'peer');
    if (cell.why) cell.state = reason ? 'NOT RUN' : 'NOT SUPPORTED BY PEER';
  }
  const open = own.filter(({ state }) => state === null);
  if (open.length > 0) await runRounds(peer, acts, open, lacked);
  for (const cell of own) {
    cell.state ??= cell.passed === options.rounds ? 'pass' : 'FAIL';
    cell.why ??= cell.faults[0] ?? null;
    console.log(`${`${peer}, ${acts} acts: ${cell.operation}`.padEnd(40)} ${cell.state.padEnd(8)} ${cell.state === 'pass' || cell.state === 'FAIL' ? `${cell.passed} of ${options.rounds}` : ''} ${cell.why ?? ''}`);
  }
  return own;
}

async function runRounds(peer, acts, open, lacked) {
  const sides = {
    ours: new Side('ours', [...network.prefix, ...caller('ours'), ...(network.loopbackOnly ? ['--loopback'] : [])]),
    peer: new Side(peer, [...network.prefix, ...CALLERS[peer].command]),
  };
  sides.peer.recyclesKindAlone = CALLERS[peer].recyclesKindAlone === true;
  const [actor, other] = acts === 'ours' ? [sides.ours, sides.peer] : [sides.peer, sides.ours];
  const pair = new Pair(actor, other, {
    lacks: (operation, side) => (side === sides.peer ? lacked(operation, side === actor) : null),
  });
  let stands = false;
  for (let round = 0; round < options.rounds; round++) {
    for (const cell of open) {
      try {
        if (!stands) await named('the call of data', pair.connect());
        stands = true;
        await OPERATIONS[cell.operation].run(pair, round);
        stands = await named('stopping everything', pair.clear());
        await named('the message after it', pair.talk());
        cell.passed += 1;
      } catch (error) {
        stands = false;
        cell.faults.push(`round ${round + 1}: ${error.message}`);
        if (options.verbose) console.log(`  ${cell.operation}, round ${round + 1}: ${error.message}`);
      }
    }
    if (Object.values(sides).some(({ gone }) => gone !== null)) break;
  }
  await Promise.all(Object.values(sides).map((side) => side.stop()));
  if (options.verbose) for (const { name, stderr } of Object.values(sides)) for (const text of stderr) console.log(`    ${name}: ${text}`);
}

/** Says of a failure in which step it was. */
async function named(step, done) {
  try {
    return await done;
  } catch (error) {
    throw new Error(`${step}: ${error.message}`);
  }
}

function markdown() {
  const columns = options.peers.flatMap((peer) => options.acts.map((acts) => ({ peer, acts })));
  const lines = [`| | ${columns.map(({ peer, acts }) => `${peer}, ${acts} acts`).join(' | ')} |`, `|---|${columns.map(() => '---').join('|')}|`];
  for (const operation of options.operations) {
    const own = columns.map(({ peer, acts }) => {
      const { state, passed } = cells.find((cell) => cell.peer === peer && cell.acts === acts && cell.operation === operation);
      return ['pass', 'FAIL'].includes(state) ? `${passed} of ${options.rounds}` : state === 'NOT RUN' ? state : 'not supported by peer';
    });
    lines.push(`| ${operation} | ${own.join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}

/** Why what is not there is not, and what failed. */
function remarks() {
  const own = cells.filter(({ why }) => why !== null).map(({ peer, acts, operation, state, why }) => `- ${peer}, ${acts} acts, ${operation}: ${state === 'FAIL' ? `failed, ${why}` : state === 'NOT RUN' ? why : `NOT SUPPORTED BY PEER: ${why}`}.`);
  return own.length > 0 ? `\n${own.join('\n')}\n` : '';
}

function parse(words) {
  const options = { rounds: 20, peers: Object.keys(CALLERS), operations: Object.keys(OPERATIONS), acts: ['ours', 'peer'], atOnce: 1, page: null, verbose: false };
  const usage = (why) => {
    console.error(`${why}\nusage: renegotiation.mjs [--rounds N] [--peers NAMES] [--operations NAMES] [--acts ours|peer] [--at-once N] [--page FILE] [--verbose]\npeers: ${Object.keys(CALLERS).join(', ')}\noperations: ${Object.keys(OPERATIONS).join(', ')}`);
    process.exit(2);
  };
  const list = (text, allowed) => {
    const chosen = text.split(',');
    const unknown = chosen.find((each) => !allowed.includes(each));
    return unknown === undefined ? chosen : usage(`${unknown} is none of ${allowed.join(', ')}`);
  };
  for (let at = 0; at < words.length; at++) {
    const value = () => words[++at] ?? usage(`${words[at - 1]} needs a value`);
    if (words[at] === '--rounds') options.rounds = Number(value());
    else if (words[at] === '--peers') options.peers = list(value(), Object.keys(CALLERS));
    else if (words[at] === '--operations') options.operations = list(value(), Object.keys(OPERATIONS));
    else if (words[at] === '--acts') options.acts = list(value(), ['ours', 'peer']);
    else if (words[at] === '--at-once') options.atOnce = Number(value());
    else if (words[at] === '--page') options.page = value();
    else if (words[at] === '--verbose') options.verbose = true;
    else usage(`unknown argument ${words[at]}`);
  }
  if (![options.rounds, options.atOnce].every((number) => Number.isInteger(number) && number > 0)) usage('--rounds and --at-once need a number above zero');
  return options;
}
