// One side of a call that is negotiated again and again, over the W3C's API: it runs in a browser's page and in Node alike.
// What it is asked to do, and what it answers, is written down in ../talk.mjs.

/** What somebody may ask for. */
const ASKED = ['open', 'ping', 'add', 'remove', 'replace', 'direct', 'stop', 'offer', 'answer', 'take', 'accept', 'rollback', 'look'];

/** How long candidates are waited for where gathering does not end. */
const GATHERING_MS = 3_000;
/** How long a message may take to come back. */
const PING_MS = 10_000;

/** The sections of a description, as far as a negotiation changes them. */
export function sections(description) {
  return (description?.sdp ?? '').split(/^(?=m=)/m).slice(1).map((text) => ({
    kind: /^m=(\w+)/.exec(text)[1],
    mid: /^a=mid:(\S+)/m.exec(text)?.[1] ?? null,
    rejected: /^m=\w+ 0 /.test(text) && !/^a=bundle-only/m.test(text),
  }));
}

export class Call {
  /**
   * `stack` is what differs between implementations: `connection()`; `track(kind, which)` with which of `first` and `other`;
   * and, where they are needed, `begin(sender, track)` once a track has been replaced, `watch(track, receiver)` for those that come,
   * `arrived(pc, transceiver)` where receivers have no statistics, `isOld` for a stack before implicit descriptions and rollbacks.
   */
  constructor(stack) {
    this.stack = stack;
    this.pc = stack.connection();
    this.senders = new Map();
    this.kinds = new Map();
    this.came = [];
    this.needed = 0;
    this.pc.onnegotiationneeded = () => { this.needed += 1; };
    this.pc.ontrack = ({ track, receiver }) => {
      this.came.push(track);
      stack.watch?.(track, receiver);
    };
    this.pc.ondatachannel = ({ channel }) => { channel.onmessage = ({ data }) => channel.send(data); };
  }

  async ask(what, given = {}) {
    if (!ASKED.includes(what)) throw new Error(`nobody knows how to ${what}`);
    return (await this[what](given)) ?? null;
  }

  /** Opens the data channel that the call begins with. */
  open() {
    this.channel = this.pc.createDataChannel('call');
    this.opened = new Promise((resolve) => { this.channel.onopen = resolve; });
  }

  async ping({ text }) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('the message did not come back')), PING_MS); });
    const back = this.opened.then(() => new Promise((resolve) => {
      this.channel.onmessage = ({ data }) => { if (data === text) resolve(); };
      this.channel.send(text);
    }));
    await Promise.race([back, late]);
    clearTimeout(timer);
  }

  async add({ name, kind }) {
    const track = await this.stack.track(kind, 'first');
    this.senders.set(name, this.pc.addTrack(track));
    this.kinds.set(name, kind);
  }

  remove({ name }) {
    this.pc.removeTrack(this.senders.get(name));
  }

  async replace({ name, by }) {
    const sender = this.senders.get(name);
    const track = by === null ? null : await this.stack.track(this.kinds.get(name), by);
    await sender.replaceTrack(track);
    if (track !== null) this.stack.begin?.(sender, track);
  }

  direct({ mid, direction }) {
    this.at(mid).direction = direction;
  }

  stop({ mid }) {
    this.at(mid).stop();
  }

  async offer() {
    return this.local(this.stack.isOld ? () => this.pc.createOffer() : null);
  }

  async answer({ description }) {
    await this.take({ description });
    return this.local(this.stack.isOld ? () => this.pc.createAnswer() : null);
  }

  /** Takes an offer without an answer yet. In the way of one of our own, that one is rolled back. */
  async take({ description }) {
    if (this.stack.isOld && this.pc.signalingState === 'have-local-offer') await this.pc.setLocalDescription({ type: 'rollback' });
    await this.pc.setRemoteDescription(description);
  }

  async accept({ description }) {
    await this.pc.setRemoteDescription(description);
  }

  async rollback({ side }) {
    if (side === 'local') await this.pc.setLocalDescription({ type: 'rollback' });
    else await this.pc.setRemoteDescription({ type: 'rollback' });
  }

  async look() {
    const { pc } = this;
    const seen = [];
    for (const transceiver of pc.getTransceivers()) {
      if (transceiver.currentDirection === 'stopped' || transceiver.direction === 'stopped' || transceiver.stopped) continue;
      const name = [...this.senders].find(([, sender]) => sender === transceiver.sender)?.[0] ?? null;
      const arrived = await (this.stack.arrived ?? arrivedByStats)(pc, transceiver);
      seen.push({
        mid: transceiver.mid, kind: transceiver.receiver.track.kind, sends: name,
        direction: transceiver.direction, currentDirection: transceiver.currentDirection, ...arrived,
      });
    }
    return {
      signaling: pc.signalingState, connection: pc.connectionState, needed: this.needed, transceivers: seen,
      live: this.came.filter((track) => track.readyState === 'live').length,
      local: sections(pc.currentLocalDescription), remote: sections(pc.currentRemoteDescription),
    };
  }

  close() {
    this.pc.close();
    this.stack.close?.();
  }

  at(mid) {
    const found = this.pc.getTransceivers().find((transceiver) => transceiver.mid === mid);
    if (found === undefined) throw new Error(`no transceiver has mid ${mid}`);
    return found;
  }

  /** Sets what we have to say, and gives it with its candidates inside. */
  async local(make) {
    const gathered = new Promise((resolve) => {
      this.pc.onicegatheringstatechange = () => { if (this.pc.iceGatheringState === 'complete') resolve(); };
      setTimeout(resolve, GATHERING_MS);
    });
    await (make === null ? this.pc.setLocalDescription() : this.pc.setLocalDescription(await make()));
    if (this.pc.iceGatheringState !== 'complete') await gathered;
    const { type, sdp } = this.pc.localDescription;
    return { type, sdp };
  }
}

/** What came to one transceiver so far: `packets`, and of pictures `frames` that were decoded and their `size`. */
async function arrivedByStats(_, { receiver }) {
  const found = { packets: 0, frames: 0, size: null };
  for (const stat of (await receiver.getStats()).values()) {
    if (stat.type !== 'inbound-rtp') continue;
    found.packets += stat.packetsReceived ?? 0;
    found.frames += stat.framesDecoded ?? 0;
    if (stat.frameWidth) found.size = [stat.frameWidth, stat.frameHeight];
  }
  return found;
}
