// One run: two processes, their pipes joined, both results.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Once one side has failed, how long the other may take to say what it saw. Ours has longer: its reason matters most. */
const AFTER_FAILURE_MS = 3_000;
const AFTER_FAILURE_OURS_MS = 12_000;
/** How long a process may take to end by itself once its stdin has ended, and then once it was asked to. */
const EXIT_MS = 5_000;
/** How much of what a side wrote to stderr is kept, in lines. */
const STDERR_LINES_MAX = 40;

const running = new Set();

/** Ends what is still running; for the runner's own signals. */
export async function stopAll() {
  await Promise.all([...running].map((side) => side.stop()));
}

class Side {
  constructor(name, command) {
    this.name = name;
    this.stderr = [];
    this.result = null;
    this.child = spawn(command[0], command.slice(1), { stdio: 'pipe' });
    running.add(this);
    // A side that is gone cannot be written to; its exit says so, not the pipe.
    this.child.stdin.on('error', () => {});
    this.description = new Promise((resolve) => { this.described = resolve; });
    this.done = new Promise((resolve) => { this.finish = resolve; });
    const output = createInterface({ input: this.child.stdout });
    output.on('line', (line) => this.line(line));
    createInterface({ input: this.child.stderr }).on('line', (line) => {
      this.stderr.push(line);
      if (this.stderr.length > STDERR_LINES_MAX) this.stderr.shift();
    });
    const outputEnd = new Promise((resolve) => output.on('close', resolve));
    this.exited = new Promise((resolve) => {
      this.child.on('error', (error) => resolve({ why: error.message }));
      this.child.on('exit', (code, signal) => resolve({ code, signal }));
    }).then(async (exit) => {
      // The last lines may still be in the pipe when the process is gone.
      await Promise.race([outputEnd, sleep(500)]);
      this.exit = exit;
      running.delete(this);
      this.described(null);
      this.finish();
    });
  }

  line(line) {
    if (line.startsWith('RESULT ')) {
      try {
        this.result = JSON.parse(line.slice('RESULT '.length));
      } catch {
        this.result = { ok: false, err: `its RESULT is not JSON: ${line.slice(0, 80)}` };
      }
      this.finish();
    } else if (line.startsWith('{')) {
      this.described(line);
    }
  }

  give(line) {
    this.child.stdin.write(`${line}\n`);
  }

  failed() {
    return this.exit !== undefined ? this.result?.ok !== true : this.result !== null && this.result.ok !== true;
  }

  async stop() {
    this.child.stdin.end();
    for (const signal of [null, 'SIGTERM', 'SIGKILL']) {
      if (signal) this.child.kill(signal);
      await Promise.race([this.exited, sleep(EXIT_MS)]);
      if (this.exit !== undefined) return;
    }
  }

  /** Why this side is not green, or null. */
  fault(must) {
    const last = this.stderr.length > 0 ? `; stderr: ${this.stderr[this.stderr.length - 1].slice(0, 160)}` : '';
    if (this.result === null) {
      const { code, signal, why } = this.exit ?? {};
      return `${this.name}: no RESULT (${why ?? (signal ? `ended by ${signal}` : `exit ${code}`)})${last}`;
    }
    if (this.result.ok !== true) return `${this.name}: ${this.result.err ?? 'not ok, and no reason given'}`;
    const wrong = must(this.result);
    if (wrong) return `${this.name}: ${wrong}`;
    return null;
  }
}

/**
 * Runs `offerer` and `answerer`, each `{name, command, ours}`, and gives `{ok, why, ms, offer, answer}` with the
 * RESULT of both. Green means that both said ok, that the offerer had every message back, that with a `codec` both
 * counted media, with `simulcast` the answerer all three streams, and no side received another codec, and that our own
 * process ended with exit code 0. `rewrite` changes descriptions on their way, `must(name, result)` says what else a side
 * lacks; `exchanged` is called once both have the other's description.
 */
export async function runPair(offerer, answerer, { pings, codec, simulcast, deadlineMs, rewrite = (line) => line, must = () => null, exchanged = () => {} }) {
  const start = performance.now();
  const sides = [new Side(offerer.name, offerer.command), new Side(answerer.name, answerer.command)];
  const [offer, answer] = sides;
  let late = false;
  const deadline = sleep(deadlineMs).then(() => { late = true; });

  const exchange = async () => {
    const first = await offer.description;
    if (first === null) return;
    answer.give(rewrite(first));
    const second = await answer.description;
    if (second === null) return;
    offer.give(rewrite(second));
    exchanged();
  };
  const bothDone = Promise.all(sides.map((side) => side.done));
  const graceMs = (failed) => [offerer, answerer].some((each, index) => each.ours && sides[index] !== failed) ? AFTER_FAILURE_OURS_MS : AFTER_FAILURE_MS;
  const oneFailed = Promise.race(sides.map((side) => side.done.then(() => side.failed() ? sleep(graceMs(side)) : bothDone)));
  exchange();
  await Promise.race([bothDone, oneFailed, deadline]);
  const ms = Math.round(performance.now() - start);
  await Promise.all(sides.map((side) => side.stop()));

  const faults = sides.map((side, index) => side.fault((result) => {
    if (index === 0 && result.n !== pings) return `${result.n} of ${pings} messages came back`;
    const missed = must(index === 0 ? offerer.name : answerer.name, result);
    if (missed) return missed;
    if (!codec) return null;
    if (!(videoFrames(result) > 0)) return 'no video frames counted';
    if (!(audioCount(result) > 0)) return 'no audio counted';
    if (simulcast && index === 1 && answerer.ours) {
      const missing = ['q', 'h', 'f'].filter((rid) => !(result.video.streams?.[rid] > 0));
      if (missing.length > 0) return `no frames of the streams ${missing.join(', ')}`;
    }
    const received = result.video.codec?.toLowerCase().replace('video/', '');
    if (received && received !== codec) return `received ${received}, not ${codec}`;
    return null;
  }));
  [offerer, answerer].forEach((each, index) => {
    const { code, signal } = sides[index].exit ?? {};
    if (each.ours && faults[index] === null && code !== 0) faults[index] = `${each.name}: RESULT was ok, but ${signal ? `it had to be ended by ${signal}` : `its exit code was ${code}`}`;
  });
  const why = faults.filter((fault) => fault !== null).join('; ');
  return {
    ok: why === '', why: late && why !== '' ? `deadline of ${deadlineMs / 1000} s: ${why}` : why || null, ms,
    offer: sides[0].result, answer: sides[1].result, stderr: why === '' ? undefined : sides.map((side) => side.stderr),
  };
}

export function videoFrames(result) {
  return result?.video?.frames_decoded ?? result?.video?.frames ?? null;
}

export function audioCount(result) {
  return result?.audio?.packets ?? result?.audio?.frames ?? null;
}

function sleep(ms) {
  // Not referenced: a pending deadline must not keep the runner alive at its end.
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
