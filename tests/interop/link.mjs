// Two namespaces joined by a link of the simulator: `twocan-lab` carries every packet between them.
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Of the documentation ranges (RFC 5737), so that nothing real can be meant. */
export const ADDRESSES = { left: '198.51.100.1', right: '198.51.100.2' };
/** What an end has beside them where its first address is to go. */
const OTHER_ADDRESSES = { left: '198.51.100.3', right: '198.51.100.4' };
const READY_MS = 10_000;

/** Links that this process has opened. */
let opened = 0;

/** Names of two interfaces that no other process has, nor this one a second time: at most 15 characters. */
export function interfaceNames() {
  const own = `${process.pid.toString(36)}${(opened++ % 1296).toString(36)}`;
  return { left: `tcl${own}`, right: `tcr${own}` };
}

/** Starts `lab`, which makes two TUN interfaces of these names and joins them; `report` is given each of its lines. */
export async function startLab(lab, names, seed, report = () => {}) {
  const child = spawn(lab, [names.left, names.right, String(seed)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ready = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${lab} ended with ${code}`)));
    setTimeout(() => reject(new Error(`${lab} is not ready after ${READY_MS / 1000} s`)), READY_MS).unref();
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line === 'READY') resolve();
      else report(JSON.parse(line));
    });
  });
  try {
    await ready;
    return child;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

const ip = (...words) => execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });

export class Link {
  /** Starts `lab` and gives both ends a namespace; throws where namespaces or TUN are not allowed. */
  static async open(lab, seed = 1) {
    const link = new Link();
    try {
      await link.start(lab, seed);
      return link;
    } catch (error) {
      await link.close();
      const why = String(error.stderr ?? '').trim().split('\n')[0] || error.message;
      throw new Error(`no link between namespaces: ${why}`);
    }
  }

  constructor() {
    this.names = interfaceNames();
    /** `{at, right, left}`: when a report came, on the clock of `performance.now`, and what it says. */
    this.reports = [];
  }

  async start(lab, seed) {
    this.child = await startLab(lab, this.names, seed, (report) => this.reports.push({ at: performance.now(), ...report }));
    for (const side of ['left', 'right']) {
      const name = this.names[side];
      ip('netns', 'add', name);
      // The interface keeps its other end, the process, across namespaces.
      ip('link', 'set', 'dev', name, 'netns', name);
      ip('-n', name, 'link', 'set', 'dev', 'lo', 'up');
      ip('-n', name, 'addr', 'add', ADDRESSES[side], 'peer', ADDRESSES[side === 'left' ? 'right' : 'left'], 'dev', name);
      ip('-n', name, 'link', 'set', 'dev', name, 'up');
      // Firefox gathers nothing where there is no default route.
      ip('-n', name, 'route', 'add', 'default', 'dev', name);
    }
  }

  /** What to put before a command that is to run at `left` or `right`. */
  prefix(side) {
    return ['ip', 'netns', 'exec', this.names[side]];
  }

  /** `{right, left}`, or one of them: the link is so from now on; fields are those of the lab's `Conditions`. */
  change(conditions) {
    this.child.stdin.write(`${JSON.stringify(conditions)}\n`);
  }

  /** Gives an end another address, in another network: the first one stays the one that is taken by default. */
  addOther(side) {
    ip('-n', this.names[side], 'addr', 'add', `${OTHER_ADDRESSES[side]}/32`, 'dev', this.names[side]);
  }

  /** Takes the first address of an end away: what is sent from it fails from now on, and what is sent to it is lost. */
  removeFirst(side) {
    const [name, other] = [this.names[side], side === 'left' ? 'right' : 'left'];
    ip('-n', name, 'addr', 'del', ADDRESSES[side], 'peer', ADDRESSES[other], 'dev', name);
  }

  async close() {
    if (this.child?.exitCode === null) {
      const gone = new Promise((resolve) => this.child.on('exit', resolve));
      this.child.stdin.end();
      await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 2_000))]);
      this.child.kill('SIGKILL');
    }
    for (const name of Object.values(this.names)) {
      try { ip('netns', 'delete', name); } catch { /* never made, or gone */ }
    }
  }
}
