// A side of a call as a process that is asked to do one thing after another.
//
// A question is a line `{"id","what","given"}`, its answer a line `{"id","value"}` or `{"id","error"}`. What is asked:
//
// | what | given | does |
// |---|---|---|
// | `fresh` | | lets go of the connection that was there, and makes another |
// | `open` | | opens a data channel |
// | `ping` | `text` | sends it on that channel; the other side sends it back |
// | `add` | `name`, `kind` | adds a track, and calls its sender by that name |
// | `remove` | `name` | takes that sender's track away |
// | `replace` | `name`, `by` | gives that sender no track (`null`), or one of another shape (`other`) |
// | `direct` | `mid`, `direction` | sets a transceiver's direction |
// | `stop` | `mid` | stops a transceiver |
// | `offer`, `answer`, `accept` | `description` | the steps of a negotiation, each with all candidates inside |
// | `take` | `description` | sets an offer of the other side, without an answer |
// | `rollback` | `side` | takes back our own offer (`local`), or theirs (`remote`) |
// | `look` | | how things are: `signaling`, `connection`, `transceivers` (`mid`, `kind`, `sends`, `direction`, `currentDirection`, `packets`, `frames`, `size`), the sections of the current descriptions (`local`, `remote`), `needed`, `live` |
//
// What a stack cannot tell is null or absent. The process ends with its stdin.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How long one thing may take: a browser's first offer has a camera to open, and the first thing of all waits for its start. */
const ANSWER_MS = 20_000;
const START_MS = 60_000;
/** How long a process may take to end by itself, and then once it was asked to. */
const EXIT_MS = 5_000;
const STDERR_LINES_MAX = 40;

const running = new Set();

/** Ends what is still running; for the runner's own signals. */
export async function stopAll() {
  await Promise.all([...running].map((side) => side.stop()));
}

export class Side {
  constructor(name, command) {
    this.name = name;
    this.stderr = [];
    this.asked = new Map();
    this.last = 0;
    this.gone = null;
    this.child = spawn(command[0], command.slice(1), { stdio: 'pipe' });
    running.add(this);
    // A side that is gone cannot be written to; its exit says so, not the pipe.
    this.child.stdin.on('error', () => {});
    createInterface({ input: this.child.stdout }).on('line', (line) => this.told(line));
    createInterface({ input: this.child.stderr }).on('line', (line) => {
      this.stderr.push(line);
      if (this.stderr.length > STDERR_LINES_MAX) this.stderr.shift();
    });
    this.exited = new Promise((resolve) => {
      const ended = (why) => {
        this.gone ??= why;
        running.delete(this);
        for (const { fail } of this.asked.values()) fail(new Error(`${name}: ${why}`));
        this.asked.clear();
        resolve();
      };
      this.child.on('error', (error) => ended(error.message));
      this.child.on('exit', (code, signal) => ended(signal ? `ended by ${signal}` : `exit ${code}`));
    });
  }

  told(line) {
    if (!line.startsWith('{')) return;
    const { id, value, error } = JSON.parse(line);
    const waiting = this.asked.get(id);
    if (waiting === undefined) return;
    this.asked.delete(id);
    clearTimeout(waiting.timer);
    if (error === undefined) waiting.done(value);
    else waiting.fail(new Error(`${this.name}, asked to ${waiting.what}: ${error}`));
  }

  /** Asks for one thing. Fails with what the side says, when it takes too long, and when it is gone. */
  ask(what, given = {}) {
    if (this.gone !== null) return Promise.reject(new Error(`${this.name}: ${this.gone}`));
    this.last += 1;
    const id = this.last;
    const limit = id === 1 ? START_MS : ANSWER_MS;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => {
        this.asked.delete(id);
        fail(new Error(`${this.name} did not ${what} in ${limit / 1000} s`));
      }, limit);
      this.asked.set(id, { what, done, fail, timer });
      this.child.stdin.write(`${JSON.stringify({ id, what, given })}\n`);
    });
  }

  async stop() {
    this.child.stdin.end();
    for (const signal of [null, 'SIGTERM', 'SIGKILL']) {
      if (signal) this.child.kill(signal);
      await Promise.race([this.exited, new Promise((resolve) => setTimeout(resolve, EXIT_MS).unref())]);
      if (this.gone !== null) return;
    }
  }
}
