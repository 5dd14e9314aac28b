// The echo test over the W3C API, for every stack that has one: it runs in a browser's page and in Node alike.
//
// 1. The offerer opens a data channel; both sides add audio and video when asked to.
// 2. `offer` and `answer` give a description with all candidates inside; `accept` takes the answer.
// 3. `run` sends the messages one by one and expects each back (or echoes them), and waits for media both ways.
// 4. Its result says what happened; nothing is closed until `close`, so that the other side can finish too.

/** What media must have arrived before a side is content: enough to prove that pictures decode and keep coming. */
export const VIDEO_FRAMES_MIN = 20;
export const AUDIO_PACKETS_MIN = 50;
/** With `repair`: how long until the loss is reported and protection has begun, and how long is counted then. */
const REPAIR_BEGIN_MS = 7_000;
const REPAIR_COUNT_MS = 10_000;
/** With `playoutDelay`: how long pictures are watched, those of the beginning among them. */
const DELAY_MS = 6_000;

const MESSAGE_LEN_MAX = 16384;

/** The message number `index`: text and binary in turn, 1 byte to 16 KiB, the same on every run. */
export function message(index) {
  const step = index >> 1;
  const len = step === 0 ? 1 : step === 1 ? MESSAGE_LEN_MAX : 1 + ((step * 7919) % MESSAGE_LEN_MAX);
  if (index % 2 === 0) {
    // Every fourth text has characters of two, three and four bytes in UTF-8.
    if (step % 4 === 2) return 'é€😀'.repeat(Math.ceil(len / 9));
    return String.fromCharCode(33 + (index % 90)).repeat(len);
  }
  const bytes = new Uint8Array(len);
  for (let at = 0; at < len; at++) bytes[at] = (at * 31 + index) & 0xff;
  return bytes;
}

function same(sent, received) {
  if (typeof sent === 'string') return sent === received;
  if (typeof received === 'string') return false;
  const bytes = received instanceof ArrayBuffer ? new Uint8Array(received) : new Uint8Array(received.buffer, received.byteOffset, received.byteLength);
  return bytes.length === sent.length && bytes.every((byte, at) => byte === sent[at]);
}

function describe(data) {
  return typeof data === 'string' ? `text of ${data.length} characters` : `${data.byteLength} bytes`;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? null : Math.round(sorted[sorted.length >> 1] * 1000) / 1000;
}

export class Peer {
  /**
   * `stack` is what differs between implementations:
   * `connection(options)` makes an RTCPeerConnection; `gatheringMs` bounds the wait for candidates;
   * `addMedia(pc)` starts sending (absent: data only); `media(pc)` and `transport(pc)` report, see below.
   */
  constructor(stack, options) {
    this.stack = stack;
    this.options = options;
    this.echoed = 0;
    this.sent = null;
    this.error = null;
    this.openMs = null;
    this.roundTrips = [];
    this.pc = stack.connection(options);
    // A `let`-free promise pair: `failed` rejects from callbacks, `run` races it.
    this.failed = new Promise((_, reject) => { this.fail = (why) => reject(new Error(why)); });
    this.failed.catch(() => {});
    this.finished = new Promise((resolve) => { this.finish = resolve; });
    this.pc.onconnectionstatechange = () => {
      if (this.pc.connectionState === 'failed') this.fail(`connection failed (${this.states()})`);
    };
    if (stack.watch) stack.watch(this.pc);
  }

  async offer() {
    this.open(this.pc.createDataChannel('echo'));
    if (this.options.media) await this.stack.addMedia(this.pc, this.options);
    return this.local(await this.pc.createOffer());
  }

  async answer(remote) {
    this.pc.ondatachannel = (event) => this.open(event.channel);
    this.remoteSetAt = performance.now();
    await this.pc.setRemoteDescription(remote);
    if (this.options.media) await this.stack.addMedia(this.pc, this.options);
    return this.local(await this.pc.createAnswer());
  }

  async accept(remote) {
    this.remoteSetAt = performance.now();
    await this.pc.setRemoteDescription(remote);
  }

  /** Runs to the end of the test and gives the result; never throws. */
  async run() {
    let timer;
    const timeout = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`timeout: ${this.progress()}`)), this.options.timeoutMs);
    });
    let err = null;
    try {
      await Promise.race([this.work(), this.failed, timeout]);
    } catch (error) {
      err = String(error.message ?? error);
    }
    clearTimeout(timer);
    const result = { ok: err === null, err, open_ms: this.openMs, n: this.echoed, p50_ms: median(this.roundTrips) };
    try {
      Object.assign(result, await this.stack.transport(this.pc));
      if (this.options.media) Object.assign(result, await this.stack.media(this.pc));
      if (this.window) result.window = this.window;
      for (const name of Object.keys(this.before ?? {})) result.repair[name] -= this.before[name];
    } catch (error) {
      result.stats_err = String(error.message ?? error);
    }
    return result;
  }

  close() {
    if (this.stack.stop) this.stack.stop();
    this.pc.close();
  }

  async local(description) {
    const gathered = new Promise((resolve) => {
      const done = () => { if (this.pc.iceGatheringState === 'complete') resolve(); };
      this.pc.onicegatheringstatechange = done;
      this.pc.onicecandidate = (event) => { if (!event.candidate) resolve(); };
      setTimeout(resolve, this.stack.gatheringMs ?? 3000);
    });
    await this.pc.setLocalDescription(description);
    if (this.pc.iceGatheringState !== 'complete') await gathered;
    return { type: this.pc.localDescription.type, sdp: this.pc.localDescription.sdp };
  }

  open(channel) {
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    const opened = () => {
      if (this.openMs !== null) return;
      this.openMs = Math.round((performance.now() - this.remoteSetAt) * 10) / 10;
      if (this.options.role === 'offer') this.next();
    };
    channel.onopen = opened;
    channel.onmessage = (event) => this.receive(event.data);
    channel.onclose = () => this.fail(`channel closed: ${this.progress()}`);
    if (channel.readyState === 'open') opened();
  }

  next() {
    if (this.echoed === this.options.pings) return this.finish();
    this.sent = message(this.echoed);
    this.sentAt = performance.now();
    this.channel.send(this.sent);
  }

  receive(data) {
    if (this.options.role === 'answer') {
      this.channel.send(data);
      this.echoed += 1;
      if (this.echoed === this.options.pings) this.finish();
      return;
    }
    if (!same(this.sent, data)) {
      return this.fail(`echo ${this.echoed} differs: sent ${describe(this.sent)}, got ${describe(data)}`);
    }
    this.roundTrips.push(performance.now() - this.sentAt);
    this.echoed += 1;
    this.next();
  }

  async work() {
    await this.finished;
    const { role, oneWay, window } = this.options;
    const receives = this.options.media && !(oneWay && role === 'offer');
    if (window) await this.watchWindow(window);
    while (receives && !enough(await this.stack.media(this.pc))) {
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    if (this.options.playoutDelay) await new Promise((resolve) => setTimeout(resolve, DELAY_MS));
    if (!this.options.repair) return;
    await new Promise((resolve) => setTimeout(resolve, REPAIR_BEGIN_MS));
    this.before = (await this.stack.media(this.pc)).repair;
    await new Promise((resolve) => setTimeout(resolve, REPAIR_COUNT_MS));
  }

  /** What came between two moments after the channel opened. */
  async watchWindow({ from, to }) {
    await new Promise((resolve) => setTimeout(resolve, from * 1000));
    const [before, start] = [await windowByStats(this.pc), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, (to - from) * 1000));
    const after = await windowByStats(this.pc);
    this.window = { seconds: (performance.now() - start) / 1000 };
    for (const [kind, counts] of Object.entries(after)) this.window[kind] = Object.fromEntries(Object.entries(counts).map(([name, value]) => [name, value - before[kind][name]]));
    const { video } = this.window;
    video.buffered_seconds = video.emitted > 0 ? video.buffered / video.emitted : 0;
  }

  states() {
    return `ice ${this.pc.iceConnectionState}, connection ${this.pc.connectionState}, signaling ${this.pc.signalingState}`;
  }

  progress() {
    return `${this.echoed} of ${this.options.pings} messages, ${this.states()}`;
  }
}

/** A stack that can tell decoded frames must have them; one that cannot counts received frames. */
export function enough({ audio, video }) {
  return (video?.frames_decoded ?? video?.frames ?? 0) >= VIDEO_FRAMES_MIN && (audio?.packets ?? audio?.frames ?? 0) >= AUDIO_PACKETS_MIN;
}

/** Received media by getStats. */
export async function mediaByStats(pc) {
  const found = { audio: { packets: 0 }, video: { packets: 0, frames_decoded: 0 }, repair: { fec_packets_received: 0, audio_lost: 0, concealment_events: 0, frames_decoded: 0, frames_dropped: 0 } };
  const report = await pc.getStats();
  const all = [...report.values()];
  for (const stat of all) {
    if (stat.type !== 'inbound-rtp') continue;
    const kind = stat.kind ?? stat.mediaType;
    const codec = all.find((other) => other.id === stat.codecId)?.mimeType;
    found[kind] = { codec, packets: stat.packetsReceived, lost: stat.packetsLost };
    found.repair.fec_packets_received += stat.fecPacketsReceived ?? 0;
    found.repair.frames_decoded += stat.framesDecoded ?? 0;
    found.repair.frames_dropped += stat.framesDropped ?? 0;
    found.repair.concealment_events += stat.concealmentEvents ?? 0;
    if (kind === 'audio') found.repair.audio_lost += stat.packetsLost;
    if (kind === 'video') {
      found.video.frames = stat.framesReceived;
      found.video.frames_decoded = stat.framesDecoded ?? 0;
      found.video.buffered_seconds = stat.jitterBufferEmittedCount > 0 ? stat.jitterBufferDelay / stat.jitterBufferEmittedCount : 0;
      found.video.key_frames = stat.keyFramesDecoded;
      found.video.size = stat.frameWidth ? `${stat.frameWidth}x${stat.frameHeight}` : undefined;
    }
    if (kind === 'audio' && stat.totalSamplesReceived !== undefined) found.audio.samples = stat.totalSamplesReceived;
  }
  return found;
}

/** What has been received so far, in the same words as ours has it. */
async function windowByStats(pc) {
  const found = {
    video: { bytes: 0, frames_decoded: 0, freezes: 0, frozen_seconds: 0, buffered: 0, emitted: 0, key_frames: 0, packets_lost: 0 },
    audio: { packets: 0, packets_lost: 0 },
  };
  for (const stat of (await pc.getStats()).values()) {
    if (stat.type !== 'inbound-rtp') continue;
    const own = found[stat.kind];
    own.packets_lost += stat.packetsLost;
    if (stat.kind === 'audio') own.packets += stat.packetsReceived;
    if (stat.kind !== 'video') continue;
    own.bytes += stat.bytesReceived;
    own.frames_decoded += stat.framesDecoded;
    own.freezes += stat.freezeCount ?? 0;
    own.buffered += stat.jitterBufferDelay ?? 0;
    own.emitted += stat.jitterBufferEmittedCount ?? 0;
    own.frozen_seconds += stat.totalFreezesDuration ?? 0;
    own.key_frames += stat.keyFramesDecoded ?? 0;
  }
  return found;
}

/** DTLS version, SRTP profile and selected pair by getStats. */
export async function transportByStats(pc) {
  const report = await pc.getStats();
  const all = [...report.values()];
  const get = (id) => all.find((stat) => stat.id === id);
  const transport = all.find((stat) => stat.type === 'transport');
  const pair = get(transport?.selectedCandidatePairId) ?? all.find((stat) => stat.type === 'candidate-pair' && (stat.selected || (stat.nominated && stat.state === 'succeeded')));
  const versions = { FEFC: '1.3', FEFD: '1.2', FEFF: '1.0' };
  const candidate = (stat) => stat && { address: stat.address ?? stat.ip, port: stat.port, type: stat.candidateType, protocol: stat.protocol };
  return {
    dtls: versions[transport?.tlsVersion?.toUpperCase()] ?? transport?.tlsVersion ?? null,
    dtls_cipher: transport?.dtlsCipher ?? null,
    srtp: transport?.srtpCipher ?? null,
    pair: pair ? { local: candidate(get(pair.localCandidateId)), remote: candidate(get(pair.remoteCandidateId)) } : null,
  };
}
