// One side of a call that is negotiated again and again, as a process: `caller.mjs ours|chromium|firefox|wrtc [--loopback]`.
// What is asked of it comes as lines, see ../talk.mjs.
import { createInterface } from 'node:readline';
import { readFile } from 'node:fs/promises';
import { openPage } from './browser.mjs';
import { Call } from './call.mjs';
import { launch } from './launch.mjs';
import { load } from './process.mjs';

/** How long a stack may take to close before the process ends anyway. */
const CLOSE_MS = 3_000;
const IVF_HEADER_LEN = 32;
const IVF_FRAME_HEADER_LEN = 12;
const VIDEO_INTERVAL_MS = 66;
const AUDIO_INTERVAL_MS = 20;
/** A 20 ms Opus frame of silence (RFC 6716 §3.1: CELT, full band, mono, one frame). */
const OPUS_SILENCE = Buffer.from([0xf8, 0xff, 0xfe]);

async function clipFrames() {
  const clip = await readFile(new URL('./pion3/clip.ivf', import.meta.url));
  const frames = [];
  for (let at = IVF_HEADER_LEN; at < clip.length;) {
    const length = clip.readUInt32LE(at);
    at += IVF_FRAME_HEADER_LEN;
    frames.push(clip.subarray(at, at + length));
    at += length;
  }
  return frames;
}

/**
 * Ours, by the Node package: a page's script on it. The first track is of `getUserMedia`, the package's still picture of
 * 640x480 and silence; the other is what the application writes, a clip of 160x90 and silence.
 */
async function ours({ loopback }) {
  const { RTCPeerConnection, nonstandard } = await import('../../../bindings/node/lib/index.js');
  if (loopback) nonstandard.configure({ loopbackCandidates: true });
  const frames = await clipFrames();
  const write = (sender, kind) => {
    let next = 0;
    nonstandard.onKeyFrameWanted(sender, () => { next = 0; });
    const track = sender.track;
    const timer = setInterval(() => {
      if (sender.track !== track) return clearInterval(timer);
      const milliseconds = performance.now();
      const frame = kind === 'video'
        ? { codec: 'VP8', timestamp: Math.round(milliseconds * 90) % 2 ** 32, data: frames[next] }
        : { codec: 'opus', timestamp: Math.round(milliseconds * 48) % 2 ** 32, data: OPUS_SILENCE };
      try {
        nonstandard.writeFrame(sender, frame);
        next = (next + 1) % frames.length;
      } catch {
        // Nothing can be sent at the moment: what follows would need it.
        next = 0;
      }
    }, kind === 'video' ? VIDEO_INTERVAL_MS : AUDIO_INTERVAL_MS);
    timer.unref();
  };
  const stack = {
    connection: () => new RTCPeerConnection(),
    async track(kind, which) {
      if (which === 'other') return nonstandard.createTrack(kind);
      const [track] = (await nonstandard.getUserMedia({ [kind]: true })).getTracks();
      return track;
    },
    begin: (sender, track) => write(sender, track.kind),
    watch: (_, receiver) => nonstandard.readFrames(receiver, () => {}),
  };
  return { fresh: () => new Call(stack), close() {} };
}

/** @roamhq/wrtc: libwebrtc of 2022 in Node. Its receivers have no statistics: those of the connection are of their tracks. */
async function wrtc() {
  const { MediaStream, RTCPeerConnection, nonstandard } = load('@roamhq/wrtc');
  const { RTCAudioSource, RTCVideoSink, RTCVideoSource } = nonstandard;
  const shapes = { first: [320, 180], other: [240, 240] };
  const fresh = () => {
    const timers = [];
    const sinks = [];
    const sizes = new Map();
    const tracks = {
      video(source, [width, height]) {
        const data = new Uint8ClampedArray((width * height * 3) / 2).fill(128);
        let number = 0;
        timers.push(setInterval(() => {
          number += 1;
          data.fill((number * 4) & 0xff, 0, width * height);
          source.onFrame({ width, height, data });
        }, VIDEO_INTERVAL_MS));
      },
      audio(source) {
        const samples = new Int16Array(480);
        let at = 0;
        timers.push(setInterval(() => {
          for (let index = 0; index < samples.length; index++) samples[index] = 8000 * Math.sin((2 * Math.PI * 440 * at++) / 48_000);
          source.onData({ samples, sampleRate: 48_000, bitsPerSample: 16, channelCount: 1, numberOfFrames: samples.length });
        }, 10));
      },
    };
    const stack = {
      isOld: true,
      connection: () => new RTCPeerConnection({ sdpSemantics: 'unified-plan' }),
      track(kind, which) {
        const source = kind === 'video' ? new RTCVideoSource() : new RTCAudioSource();
        tracks[kind](source, shapes[which]);
        return source.createTrack();
      },
      watch(track) {
        if (track.kind !== 'video') return;
        const sink = new RTCVideoSink(track);
        sink.onframe = ({ frame }) => { sizes.set(track.id, [frame.width, frame.height]); };
        sinks.push(sink);
      },
      async arrived(pc, { mid, receiver }) {
        const found = { packets: 0, frames: 0, size: sizes.get(receiver.track.id) ?? null };
        const all = [...(await pc.getStats()).values()];
        for (const stat of all) {
          if (stat.type !== 'inbound-rtp') continue;
          const id = stat.trackIdentifier ?? all.find((other) => other.id === stat.trackId)?.trackIdentifier;
          if (id !== receiver.track.id && (id !== undefined || stat.mid !== mid)) continue;
          found.packets += stat.packetsReceived;
          found.frames += stat.framesDecoded ?? 0;
        }
        return found;
      },
      close() {
        timers.forEach(clearInterval);
        sinks.forEach((sink) => sink.stop());
      },
    };
    const call = new Call(stack);
    call.pc.addTrack = ((add) => (track) => add.call(call.pc, track, new MediaStream()))(call.pc.addTrack);
    return call;
  };
  return { fresh, close() {} };
}

/** A browser's page. */
const page = (name) => async () => {
  const browser = await launch[name]({});
  const own = await browser.newPage();
  const closeServer = await openPage(own, 'call-page.mjs');
  return {
    ask: (what, given) => own.evaluate(({ what, given }) => window.interop.ask(what, given), { what, given: given ?? {} }),
    async close() {
      await browser.close();
      closeServer();
    },
  };
};

const sides = { ours, wrtc, chromium: page('chromium'), firefox: page('firefox') };

const [name, ...words] = process.argv.slice(2);
if (sides[name] === undefined) {
  console.error(`usage: caller.mjs ${Object.keys(sides).join('|')} [--loopback]`);
  process.exit(2);
}
const side = await sides[name]({ loopback: words.includes('--loopback') });
let call = null;
const ask = async (what, given) => {
  if (side.ask) return side.ask(what, given);
  if (what !== 'fresh') return call.ask(what, given);
  call?.close();
  call = side.fresh();
  return null;
};
const end = async (code) => {
  const closed = Promise.resolve().then(async () => {
    call?.close();
    await side.close();
  });
  await Promise.race([closed.catch(() => {}), new Promise((resolve) => setTimeout(resolve, CLOSE_MS))]);
  process.exit(code);
};
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => end(1));
for await (const line of createInterface({ input: process.stdin, terminal: false })) {
  const { id, what, given } = JSON.parse(line);
  let answer;
  try {
    answer = { id, value: (await ask(what, given)) ?? null };
  } catch (error) {
    answer = { id, error: String(error?.message ?? error).split('\n')[0] };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await end(0);
