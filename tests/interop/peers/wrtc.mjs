// @roamhq/wrtc: libwebrtc of 2022 in Node.
import { Peer, mediaByStats, transportByStats } from './w3c.mjs';
import { load, main } from './process.mjs';

const WIDTH = 320;
const HEIGHT = 180;
const VIDEO_INTERVAL_MS = 66;
const AUDIO_INTERVAL_MS = 10;
const SAMPLE_RATE = 48_000;

main(async (options) => {
  const wrtc = load('@roamhq/wrtc');
  const { RTCAudioSource, RTCAudioSink, RTCVideoSource, RTCVideoSink } = wrtc.nonstandard;
  const timers = [];
  const sinks = [];
  const seen = { audio: 0, video: 0 };

  const sendVideo = (source) => {
    const data = new Uint8ClampedArray((WIDTH * HEIGHT * 3) / 2).fill(128);
    let number = 0;
    timers.push(setInterval(() => {
      number += 1;
      // Moving diagonal stripes, so that frames differ.
      for (let y = 0; y < HEIGHT; y++) for (let x = 0; x < WIDTH; x++) data[y * WIDTH + x] = (x + y + number * 4) & 0xff;
      source.onFrame({ width: WIDTH, height: HEIGHT, data });
    }, VIDEO_INTERVAL_MS));
  };
  const sendAudio = (source) => {
    const samples = new Int16Array((SAMPLE_RATE * AUDIO_INTERVAL_MS) / 1000);
    let at = 0;
    timers.push(setInterval(() => {
      for (let index = 0; index < samples.length; index++) samples[index] = 8000 * Math.sin((2 * Math.PI * 440 * at++) / SAMPLE_RATE);
      source.onData({ samples, sampleRate: SAMPLE_RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: samples.length });
    }, AUDIO_INTERVAL_MS));
  };

  return new Peer({
    connection: () => new wrtc.RTCPeerConnection({ iceServers: options.iceServers, sdpSemantics: 'unified-plan' }),
    addMedia(pc) {
      const stream = new wrtc.MediaStream();
      const audio = new RTCAudioSource();
      const video = new RTCVideoSource();
      for (const track of [audio.createTrack(), video.createTrack()]) pc.addTrack(track, stream);
      sendAudio(audio);
      sendVideo(video);
    },
    watch(pc) {
      pc.ontrack = ({ track }) => {
        const sink = track.kind === 'video' ? new RTCVideoSink(track) : new RTCAudioSink(track);
        if (track.kind === 'video') sink.onframe = () => { seen.video += 1; };
        else sink.ondata = () => { seen.audio += 1; };
        sinks.push(sink);
      };
    },
    async media(pc) {
      const found = await mediaByStats(pc);
      found.video.frames_decoded = seen.video;
      return found;
    },
    transport: transportByStats,
    stop() {
      timers.forEach(clearInterval);
      sinks.forEach((sink) => sink.stop());
    },
  }, options);
});
