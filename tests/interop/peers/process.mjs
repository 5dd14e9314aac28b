// One peer as one process, for the stacks that run in Node and for the browsers driven from it.
//
//   PEER offer|answer [--media] [--simulcast] [--video vp8|vp9|av1|h264] [--repair ulpfec|flexfec|red|ccfb] [--playout-delay] [--pings N] [--timeout SECONDS]
//        [--ice-server URL]... [--one-way] [--media-from SECONDS --media-seconds SECONDS]
//
// Its description is one JSON line on stdout, the other side's one JSON line on stdin, then `RESULT {json}`. After
// that it keeps echoing and sending media until stdin ends (or for HOLD_MS), so that the other side can finish too.

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How long a peer stays for the other side after its own result. */
const HOLD_MS = 10_000;
/** How long a stack may take to close before the process ends anyway; some never come back from it. */
const CLOSE_MS = 3_000;

const here = dirname(fileURLToPath(import.meta.url));
export const tools = resolve(process.env.TWOCAN_TOOLS ?? resolve(here, '../../../.tools'), 'interop');

/** Loads an npm package from where `install.sh` put it. */
export const load = createRequire(resolve(tools, 'package.json'));

export function parseOptions(words) {
  const options = { role: words[0], media: false, simulcast: false, video: 'vp8', repair: null, playoutDelay: false, oneWay: false, window: null, iceServers: [], pings: 200, timeoutMs: 40_000 };
  const usage = (why) => {
    console.error(`${why}\nusage: offer|answer [--media] [--simulcast] [--video vp8|vp9|av1|h264] [--playout-delay] [--pings N] [--timeout SECONDS] [--ice-server URL] [--one-way] [--media-from SECONDS --media-seconds SECONDS]`);
    process.exit(2);
  };
  const number = (text, name) => (Number(text) > 0 ? Number(text) : usage(`${name} needs a number above zero`));
  if (options.role !== 'offer' && options.role !== 'answer') usage('the first argument is offer or answer');
  for (let at = 1; at < words.length; at++) {
    if (words[at] === '--media') options.media = true;
    else if (words[at] === '--simulcast') options.simulcast = true;
    else if (words[at] === '--video' && ['vp8', 'vp9', 'av1', 'h264'].includes(words[at + 1])) options.video = words[++at];
    else if (words[at] === '--repair' && ['ulpfec', 'flexfec', 'red', 'ccfb'].includes(words[at + 1])) options.repair = words[++at];
    else if (words[at] === '--ice-server') options.iceServers.push(iceServer(words[++at] ?? usage('--ice-server needs a URL')));
    else if (words[at] === '--playout-delay') options.playoutDelay = true;
    else if (words[at] === '--one-way') options.oneWay = true;
    else if (words[at] === '--media-from') options.window = { ...options.window, from: number(words[++at], '--media-from') };
    else if (words[at] === '--media-seconds') options.window = { ...options.window, to: number(words[++at], '--media-seconds') };
    else if (words[at] === '--pings') options.pings = number(words[++at], '--pings');
    else if (words[at] === '--timeout') options.timeoutMs = 1000 * number(words[++at], '--timeout');
    else usage(`unknown argument ${words[at]}`);
  }
  return options;
}

/** The form that ours has, `turn:USER:PASSWORD@HOST…`, in the W3C's. */
function iceServer(text) {
  const [, scheme, username, credential, host] = /^(\w+):(?:([^:@]*):([^@]*)@)?(.*)$/.exec(text);
  return username === undefined ? { urls: text } : { urls: `${scheme}:${host}`, username, credential };
}

/** Runs the peer that `make(options)` gives: `offer`, `answer(remote)`, `accept(remote)`, `run`, `close`. */
export async function main(make) {
  const options = parseOptions(process.argv.slice(2));
  const lines = createInterface({ input: process.stdin, terminal: false });
  const queue = [];
  let wake = () => {};
  let ended = false;
  lines.on('line', (line) => { queue.push(line); wake(); });
  const inputEnd = new Promise((resolve) => lines.on('close', () => { ended = true; wake(); resolve(); }));
  const remote = async () => {
    while (queue.length === 0 && !ended) await new Promise((resolve) => { wake = resolve; });
    if (queue.length === 0) throw new Error('stdin ended before a description came');
    return JSON.parse(queue.shift());
  };

  let peer = null;
  const close = async () => {
    if (peer) await Promise.race([Promise.resolve().then(() => peer.close()).catch(() => {}), sleep(CLOSE_MS)]);
  };
  const interrupted = async () => { await close(); process.exit(1); };
  process.on('SIGTERM', interrupted);
  process.on('SIGINT', interrupted);

  let result;
  try {
    if (options.role === 'offer') {
      peer = await make(options);
      await print(`${JSON.stringify(await peer.offer())}\n`);
      await peer.accept(await remote());
    } else {
      // Started before the offer is here, so that a slow start does not count as set-up time.
      peer = await make(options);
      await print(`${JSON.stringify(await peer.answer(await remote()))}\n`);
    }
    result = await peer.run();
  } catch (error) {
    result = { ok: false, err: String(error?.message ?? error).split('\n')[0], n: 0 };
  }
  await print(`RESULT ${JSON.stringify(result)}\n`);
  if (result.ok) await Promise.race([inputEnd, sleep(HOLD_MS)]);
  await close();
  // process.exit rather than falling off the end: native stacks keep threads and handles alive.
  process.exit(result.ok ? 0 : 1);
}

function print(text) {
  return new Promise((resolve) => process.stdout.write(text, resolve));
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
