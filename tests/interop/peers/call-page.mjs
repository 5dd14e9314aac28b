// The page's side of a call that is negotiated again and again: the browser's camera and microphone, then a picture and a tone made here.
import { Call } from './call.mjs';

const CAMERA = { width: { ideal: 320 }, height: { ideal: 180 } };
/** Of another shape than any camera, so that who sees it knows. */
const SQUARE = 240;
const INTERVAL_MS = 66;

let devices = null;
let drawing = null;
let sounding = null;

function drawn() {
  if (drawing === null) {
    const canvas = Object.assign(document.createElement('canvas'), { width: SQUARE, height: SQUARE });
    const context = canvas.getContext('2d');
    let frame = 0;
    setInterval(() => {
      frame += 1;
      context.fillStyle = `hsl(${(frame * 7) % 360} 80% 50%)`;
      context.fillRect(0, 0, SQUARE, SQUARE);
    }, INTERVAL_MS);
    [drawing] = canvas.captureStream(1000 / INTERVAL_MS).getVideoTracks();
  }
  return drawing;
}

function sounded() {
  if (sounding === null) {
    const context = new AudioContext();
    const tone = new OscillatorNode(context, { frequency: 440 });
    const end = new MediaStreamAudioDestinationNode(context);
    tone.connect(end);
    tone.start();
    [sounding] = end.stream.getAudioTracks();
  }
  return sounding;
}

const stack = {
  connection: () => new RTCPeerConnection(),
  async track(kind, which) {
    if (which === 'other') return (kind === 'video' ? drawn() : sounded()).clone();
    devices ??= await navigator.mediaDevices.getUserMedia({ audio: true, video: CAMERA });
    return devices.getTracks().find((track) => track.kind === kind).clone();
  },
  watch(track) {
    // Attached to an element, because a browser need not decode what nobody looks at.
    const element = Object.assign(document.createElement(track.kind), { autoplay: true, muted: true, playsInline: true });
    element.srcObject = new MediaStream([track]);
    track.onended = () => element.remove();
    document.body.append(element);
  },
};

let call = null;
window.interop = {
  ask(what, given) {
    if (what !== 'fresh') return call.ask(what, given);
    call?.close();
    call = new Call(stack);
    return null;
  },
};
