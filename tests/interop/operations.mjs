// What can be done to a call that stands, and what must be seen of it on both sides.
//
// Each operation begins and ends with a call that has data alone. `actor` does it and offers, `other` answers.

/** How long something may take to show: a browser's camera and the first key frame are within. */
const PATIENCE_MS = 12_000;
const POLL_MS = 40;
/** Media has stopped when nothing has come for this long. The slowest source here has ten pictures a second. */
const QUIET_MS = 450;
/** Media has come when so many packets did, and so many pictures were decoded. */
const PACKETS_MIN = 5;
const FRAMES_MIN = 2;
const KINDS = ['audio', 'video'];
/** What each direction is at the other end. */
const SEEN_AS = { sendrecv: 'sendrecv', sendonly: 'recvonly', recvonly: 'sendonly', inactive: 'inactive' };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const shape = ([width, height]) => width / height;
const rejected = (lines) => lines.filter((line) => line.rejected).length;
const text = (value) => JSON.stringify(value);

/** Two sides, one connection. */
export class Pair {
  /** `lacks(operation, side)` says why a side has no such operation, or gives null. */
  constructor(actor, other, { lacks }) {
    this.actor = actor;
    this.other = other;
    this.lacks = lacks;
    this.names = 0;
    this.pings = 0;
    this.patienceMs = PATIENCE_MS;
  }

  /** A call of data. */
  async connect() {
    await Promise.all([this.actor.ask('fresh'), this.other.ask('fresh')]);
    await this.actor.ask('open');
    await this.negotiate();
    await this.talk();
  }

  /** One offer and its answer. */
  async negotiate(offerer = this.actor, answerer = this.other) {
    const description = await offerer.ask('offer');
    await offerer.ask('accept', { description: await answerer.ask('answer', { description }) });
  }

  /** A message goes to the other side and back. */
  async talk() {
    this.pings += 1;
    await this.actor.ask('ping', { text: `message ${this.pings}` });
  }

  /** Adds tracks of these kinds, and gives the names of their senders. */
  async add(side, kinds = KINDS) {
    const before = await side.ask('look');
    const own = {};
    for (const kind of kinds) {
      this.names += 1;
      own[kind] = `${kind} ${this.names}`;
      await side.ask('add', { name: own[kind], kind });
    }
    await this.needs(side, before);
    return own;
  }

  /** Where a stack says when it wants to negotiate: it does. */
  async needs(side, before) {
    if (before.needed === undefined || before.needed === null) return;
    await this.until(side, ({ needed }) => (needed > before.needed ? null : 'negotiation is not needed'));
  }

  /** Looks at a side until `wanted` has nothing against what it sees. */
  async until(side, wanted) {
    const start = performance.now();
    for (;;) {
      const look = await side.ask('look');
      const why = wanted(look);
      if (!why) return look;
      if (performance.now() - start > this.patienceMs) throw new Error(`${side.name}: ${why}`);
      await sleep(POLL_MS);
    }
  }

  /**
   * Both sides are at rest, agree on every section, and have as many as there must be: those before, and one for each new
   * transceiver that found no rejected section to take the place of. `before` is what `side` saw then.
   */
  async agreed(before, side = this.actor) {
    const calm = ({ signaling, connection }) => (signaling === 'stable' && connection === 'connected' ? null : `signaling ${signaling}, connection ${connection}`);
    const peer = side === this.actor ? this.other : this.actor;
    const [own, theirs] = [await this.until(side, calm), await this.until(peer, calm)];
    const all = [own.local, own.remote, theirs.local, theirs.remote];
    const line = ({ kind, mid, rejected }) => (rejected ? `${kind} rejected` : `${kind} ${mid}`);
    const seen = all.map((lines) => text(lines.map(line)));
    if (new Set(seen).size > 1) throw new Error(`the sides have other sections: ${seen.join(' ')}`);
    const more = (of) => {
      const count = (look) => look.transceivers.filter(of).length;
      return Math.max(0, count(own) - count(before) - rejected(before.local.filter(of)));
    };
    const added = side.recyclesKindAlone ? KINDS.map((kind) => more((each) => each.kind === kind)) : [more(() => true)];
    const want = before.local.length + added.reduce((sum, each) => sum + each);
    if (own.local.length !== want) throw new Error(`${own.local.length} sections, not ${want}: ${seen[0]}`);
    return [own, theirs];
  }

  /** The mids of senders, and what both sides have agreed on of their transceivers: at `side` these directions. */
  async mids(side, names, direction) {
    const peer = side === this.actor ? this.other : this.actor;
    const own = await side.ask('look');
    const mids = Object.values(names).map((name) => {
      const found = own.transceivers.find(({ sends }) => sends === name);
      if (found === undefined || found.mid === null) throw new Error(`${side.name}: ${name} has no section: ${text(own.transceivers)}`);
      return found.mid;
    });
    await this.directed(side, mids, direction);
    await this.directed(peer, mids, SEEN_AS[direction]);
    return mids;
  }

  /** Where a stack tells: these transceivers are in that direction now. */
  async directed(side, mids, direction) {
    await this.until(side, ({ transceivers }) => {
      for (const mid of mids) {
        const found = transceivers.find((each) => each.mid === mid);
        if (found === undefined) return `no transceiver has mid ${mid}`;
        const { currentDirection } = found;
        if (currentDirection !== undefined && currentDirection !== null && currentDirection !== direction) return `${mid} is ${currentDirection}, not ${direction}`;
      }
      return null;
    });
  }

  /** Media comes to a side in all these sections. Gives the last look. */
  async arrives(side, mids) {
    const last = new Map();
    const grown = new Map();
    // What a stack counts may begin anew with a negotiation.
    const note = (key, value) => {
      const before = last.get(key);
      last.set(key, value);
      if (before !== undefined) grown.set(key, (grown.get(key) ?? 0) + (value >= before ? value - before : value));
      return grown.get(key) ?? 0;
    };
    return this.until(side, ({ transceivers }) => {
      for (const mid of mids) {
        const found = transceivers.find((each) => each.mid === mid);
        if (found === undefined) return `no transceiver has mid ${mid}`;
        const [packets, frames] = ['packets', 'frames'].map((what) => note(`${mid} ${what}`, found[what] ?? 0));
        if (packets < PACKETS_MIN) return `${packets} packets of ${found.kind} came in ${mid}`;
        if (found.kind === 'video' && frames < FRAMES_MIN) return `${packets} packets came in ${mid}, and ${frames} pictures`;
      }
      return null;
    });
  }

  /** Nothing comes to a side in any of these sections any more. */
  async ceases(side, mids) {
    const packets = ({ transceivers }) => text(mids.map((mid) => transceivers.find((each) => each.mid === mid)?.packets ?? 0));
    let before = packets(await side.ask('look'));
    let since = performance.now();
    await this.until(side, (look) => {
      const now = packets(look);
      if (now !== before) [before, since] = [now, performance.now()];
      return performance.now() - since >= QUIET_MS ? null : `packets still come in ${mids.join(' and ')}`;
    });
  }

  /** Audio and video from the actor, or both ways. Gives names and mids. */
  async begin({ both = false } = {}) {
    const before = await this.actor.ask('look');
    const names = await this.add(this.actor);
    const back = both ? await this.add(this.other) : null;
    await this.negotiate();
    await this.agreed(before);
    const mids = await this.mids(this.actor, names, both ? 'sendrecv' : 'sendonly');
    await Promise.all([this.arrives(this.other, mids), both ? this.arrives(this.actor, mids) : null]);
    return { names, back, mids };
  }

  /** Stops everything that the actor has, where both can do that. Gives whether the call is of data alone again. */
  async clear() {
    if (this.lacks('stop', this.actor) !== null || this.lacks('stop', this.other) !== null) return false;
    for (const { mid } of (await this.actor.ask('look')).transceivers) if (mid !== null) await this.actor.ask('stop', { mid });
    await this.negotiate();
    return true;
  }
}

/** Each operation: what it is, in a table's words, and how it is done and watched. */
export const OPERATIONS = {
  'add': {
    text: '`addTrack` of audio and video to a call of data, then of both from the other side: the sections that were there are used, and media goes both ways',
    async run(pair) {
      const { mids } = await pair.begin();
      const before = await pair.other.ask('look');
      const back = await pair.add(pair.other);
      await pair.negotiate(pair.other, pair.actor);
      const [own] = await pair.agreed(before, pair.other);
      if (own.local.length !== before.local.length) throw new Error(`${own.local.length} sections, not ${before.local.length}`);
      const same = await pair.mids(pair.other, back, 'sendrecv');
      if (text(same) !== text(mids)) throw new Error(`the other side sends in ${same.join(' and ')}, not in ${mids.join(' and ')}`);
      await Promise.all([pair.arrives(pair.actor, mids), pair.arrives(pair.other, mids)]);
    },
  },
  'remove': {
    text: '`removeTrack` of both, while the other side goes on: media stops one way and goes on the other, in the same sections',
    async run(pair) {
      const { names, mids } = await pair.begin({ both: true });
      const before = await pair.actor.ask('look');
      for (const name of Object.values(names)) await pair.actor.ask('remove', { name });
      await pair.needs(pair.actor, before);
      await pair.negotiate();
      await pair.agreed(before);
      await pair.directed(pair.actor, mids, 'recvonly');
      await pair.directed(pair.other, mids, 'sendonly');
      await Promise.all([pair.ceases(pair.other, mids), pair.arrives(pair.actor, mids)]);
    },
  },
  'replace': {
    text: '`replaceTrack(null)`, and then of another track, of a picture of another shape: media stops and comes again, without a negotiation',
    async run(pair) {
      const { names, mids } = await pair.begin();
      const before = await pair.actor.ask('look');
      const size = ({ transceivers }) => transceivers.find(({ mid }) => mid === mids[1]).size;
      const old = size(await pair.until(pair.other, (look) => (size(look) ? null : 'no size of pictures is known')));
      for (const name of Object.values(names)) await pair.actor.ask('replace', { name, by: null });
      await pair.ceases(pair.other, mids);
      for (const name of Object.values(names)) await pair.actor.ask('replace', { name, by: 'other' });
      await pair.arrives(pair.other, mids);
      await pair.until(pair.other, (look) => (Math.abs(shape(size(look)) / shape(old) - 1) > 0.1 ? null : `the picture is still ${size(look).join('x')}, as before ${old.join('x')}`));
      const [own] = await pair.agreed(before);
      if (own.needed !== before.needed) throw new Error('a replaced track needs a negotiation');
    },
  },
  'direction': {
    text: '`direction` from `sendrecv` to `recvonly`, `inactive` and `sendrecv`: at each step media comes and stops as it says, on both sides',
    async run(pair) {
      const { mids } = await pair.begin({ both: true });
      for (const direction of ['recvonly', 'inactive', 'sendrecv']) {
        const before = await pair.actor.ask('look');
        for (const mid of mids) await pair.actor.ask('direct', { mid, direction });
        await pair.needs(pair.actor, before);
        await pair.negotiate();
        await pair.agreed(before);
        await pair.directed(pair.actor, mids, direction);
        await pair.directed(pair.other, mids, SEEN_AS[direction]);
        const sends = direction === 'sendrecv';
        const receives = direction !== 'inactive';
        try {
          await Promise.all([
            sends ? pair.arrives(pair.other, mids) : pair.ceases(pair.other, mids),
            receives ? pair.arrives(pair.actor, mids) : pair.ceases(pair.actor, mids),
          ]);
        } catch (error) {
          throw new Error(`${direction}: ${error.message}`);
        }
      }
    },
  },
  'stop': {
    text: '`stop()` of both transceivers: their sections are rejected on both sides and the other side\'s are gone; the next tracks take their places, under new mids',
    async run(pair) {
      const { mids } = await pair.begin({ both: true });
      const before = await pair.actor.ask('look');
      const live = (await pair.other.ask('look')).live;
      for (const mid of mids) await pair.actor.ask('stop', { mid });
      await pair.needs(pair.actor, before);
      await pair.negotiate();
      const stopped = await pair.agreed(before);
      for (const look of stopped) {
        const left = look.local.filter(({ mid, rejected: off }) => mids.includes(mid) && !off);
        if (left.length > 0) throw new Error(`${left.length} stopped sections are not rejected`);
        if (look.transceivers.some(({ mid }) => mids.includes(mid))) throw new Error('a stopped transceiver is still there');
      }
      if (typeof live === 'number') await pair.until(pair.other, (look) => (look.live === live - mids.length ? null : `${look.live} of ${live} tracks that came have not ended`));
      const fresh = await pair.begin();
      if (fresh.mids.some((mid) => mids.includes(mid))) throw new Error(`mids are used again: ${fresh.mids.join(' and ')}`);
      const { local } = await pair.actor.ask('look');
      if (local.length !== before.local.length) throw new Error(`${local.length} sections, not ${before.local.length}: none was taken again`);
    },
  },
  'rollback': {
    text: 'an offer with a new track is taken back (`rollback`) before anybody saw it, and made again',
    async run(pair) {
      const before = await pair.actor.ask('look');
      const names = await pair.add(pair.actor);
      await pair.actor.ask('offer');
      await pair.actor.ask('rollback', { side: 'local' });
      const back = await pair.actor.ask('look');
      const kept = back.transceivers.filter(({ sends }) => Object.values(names).includes(sends));
      if (back.signaling !== 'stable' || kept.length !== 2 || kept.some(({ mid }) => mid !== null)) throw new Error(`after the rollback: ${back.signaling}, ${text(kept)}`);
      if (text(back.local) !== text(before.local)) throw new Error('the rollback changed the description that holds');
      await pair.negotiate();
      await pair.agreed(before);
      await pair.arrives(pair.other, await pair.mids(pair.actor, names, 'sendonly'));
    },
  },
  'refusal': {
    text: 'an offer with a new track is taken and rolled back by the other side, which has no transceiver of it then; the same negotiation is made again',
    async run(pair) {
      const [before, theirs] = [await pair.actor.ask('look'), await pair.other.ask('look')];
      const names = await pair.add(pair.actor);
      await pair.other.ask('take', { description: await pair.actor.ask('offer') });
      await pair.other.ask('rollback', { side: 'remote' });
      const back = await pair.other.ask('look');
      if (back.signaling !== 'stable' || back.transceivers.length !== theirs.transceivers.length) throw new Error(`after the rollback: ${back.signaling}, ${text(back.transceivers)}`);
      await pair.actor.ask('rollback', { side: 'local' });
      await pair.negotiate();
      await pair.agreed(before);
      await pair.arrives(pair.other, await pair.mids(pair.actor, names, 'sendonly'));
    },
  },
  'glare': {
    text: 'both add a track and offer at once. The acting side is polite and takes its offer back for the other\'s. In even rounds both add video, and one section serves both; in odd rounds it is video and audio, and there are two',
    async run(pair, round) {
      const kinds = round % 2 === 0 ? ['video', 'video'] : ['video', 'audio'];
      const before = await pair.actor.ask('look');
      const own = await pair.add(pair.actor, [kinds[0]]);
      const theirs = await pair.add(pair.other, [kinds[1]]);
      const [, winning] = await Promise.all([pair.actor.ask('offer'), pair.other.ask('offer')]);
      await pair.other.ask('accept', { description: await pair.actor.ask('answer', { description: winning }) });
      const { transceivers } = await pair.actor.ask('look');
      const waits = transceivers.find(({ sends }) => sends === own[kinds[0]]).mid === null;
      if (waits !== (kinds[0] !== kinds[1])) throw new Error(`the polite side's track is ${waits ? 'not ' : ''}in the section of the other's`);
      if (waits) await pair.negotiate();
      await pair.agreed(before);
      const [mid] = await pair.mids(pair.actor, own, waits ? 'sendonly' : 'sendrecv');
      const [back] = await pair.mids(pair.other, theirs, waits ? 'sendonly' : 'sendrecv');
      await Promise.all([pair.arrives(pair.other, [mid]), pair.arrives(pair.actor, [back])]);
    },
  },
};
