/**
 * Media that needs no device: a still grey picture and silence, sent by the senders whose tracks come from
 * `getUserMedia`. The pictures were encoded once; each is a key frame and stands alone.
 */

import { inflateRawSync } from 'node:zlib';
import { tracks } from './media-stream-track.js';
import { sendFrame, senders } from './rtp-sender.js';

/** What the synthetic camera shows: settings and constraints speak of it. */
export const picture = { width: 640, height: 480, frameRate: 10 };

/** How long a packet of silence is. */
const SOUND_MS = 20;

/** Silence in -dBov (RFC 6464 §3). */
const SILENCE_LEVEL = 127;

/** What one turn sends at most after the event loop was held up. */
const BURST_MAX = 5;

const packed = {
  VP8: 'K3BimMuo1cD0gJHBnaO1taO1pYOJiYFNjE22ujjlOf8oGrkogOFfBgMA',
  VP9: 'a/JsdmJQ/yD7jcFCRUZinwCDRsIv/QsMDAwMotlmB7kVO85+Y01njf3Gms5mPvF4HANWQQA=',
  AV1: 'AUQAu/8SAAoLAAAAJMT/3z/+YBAyMxAAgAAAAEp99//+DXFzF7qraLrM1AefLI5bHWn5oyHzJ1uact3aQil06F90yoWoazjI0A==',
  H264: 'Y2BgYEx3OiB2k2GB7QZBBgZmBkYQIcIvpufBwMDAmHG6+bQCAwNjakcL76ekBsaflkQBq9frdo2iUTSKaIn2AAA=',
};
const pictures = new Map();

/** A picture in a codec; null where there is none. */
function pictureIn(codec) {
  if (packed[codec] === undefined) return null;
  if (!pictures.has(codec)) pictures.set(codec, inflateRawSync(Buffer.from(packed[codec], 'base64')));
  return pictures.get(codec);
}

/** Silence of 20 ms: Opus as RFC 6716 §3 has it with frames of no coded bands, G.711 as its zero. */
const silence = {
  OPUS: Buffer.from([0xf8, 0xff, 0xfe]),
  PCMU: Buffer.alloc(160, 0xff),
  PCMA: Buffer.alloc(160, 0xd5),
};

/** The first of the codecs that there is something in: its name as agreed, and a frame. */
function choose(kind, codecs) {
  for (const { mimeType, clockRate } of codecs) {
    const name = mimeType.slice(mimeType.indexOf('/') + 1);
    const data = kind === 'video' ? pictureIn(name.toUpperCase()) : silence[name.toUpperCase()];
    if (data) return { codec: name, clockRate, data };
  }
  return null;
}

const sends = (direction) => direction === 'sendrecv' || direction === 'sendonly';

/** Whether a sender has media of ours to send. */
function isFed(own) {
  return own.track !== null && tracks.of(own.track).source !== null && !own.isWritten;
}

/** Begins to send where there is something to be sent; the timer ends by itself. */
export function feed(connection) {
  if (connection.feeder !== null || connection.isClosed || connection.connectionState !== 'connected') return;
  if (!connection.transceivers.some((own) => isFed(senders.of(own.sender)))) return;
  connection.feeder = setInterval(() => turn(connection), SOUND_MS);
  connection.feeder.unref();
}

/** Ends it with the connection. */
export function stopFeeding(connection) {
  clearInterval(connection.feeder);
  connection.feeder = null;
}

function turn(connection) {
  let isNeeded = false;
  const now = performance.now();
  for (const transceiver of connection.transceivers) {
    const own = senders.of(transceiver.sender);
    if (!isFed(own)) continue;
    isNeeded = true;
    const { ended } = tracks.of(own.track);
    if (!ended && !transceiver.isStopping && sends(transceiver.currentDirection)) sendDue(connection, own, now);
  }
  if (!isNeeded) stopFeeding(connection);
}

/** Sends what is due on one sender since it was last looked at. */
function sendDue(connection, own, now) {
  const interval = own.kind === 'audio' ? SOUND_MS : 1000 / picture.frameRate;
  own.fed ??= { next: now, choice: null, codecs: null };
  if (now < own.fed.next) return;
  let choices;
  try {
    choices = choicesOf(connection, own);
  } catch {
    // The transceiver was stopped, and that is not told yet.
    return;
  }
  if (choices.length === 0) return;
  own.fed.choice = choices[0];
  for (let sent = 0; sent < BURST_MAX && own.fed.next <= now; sent += 1) {
    for (const choice of choices) {
      const timestamp = Math.round((own.fed.next * choice.clockRate) / 1000) % 2 ** 32;
      sendOne(own, { ...choice, timestamp });
    }
    own.fed.next += interval;
    own.fedSeconds += interval / 1000;
  }
  if (own.fed.next <= now) own.fed.next = now + interval;
}

/** What each active encoding sends: in the codec that its parameters name, or the preferred one. */
function choicesOf(connection, own) {
  const { encodings } = connection.native.parameters(own.transceiver.id);
  const agreed = connection.native.codecs(own.transceiver.id);
  const choices = encodings.map(({ active, rid }, index) => {
    const codec = own.codecs[index];
    const choice = active ? choose(own.kind, codec === undefined ? agreed : [codec]) : null;
    return choice === null ? null : { ...choice, rid: rid ?? undefined };
  });
  return choices.filter((choice) => choice !== null);
}

function sendOne(own, { codec, timestamp, data, rid }) {
  const isVideo = own.kind === 'video';
  const more = isVideo ? { size: { width: picture.width, height: picture.height } } : { audioLevel: SILENCE_LEVEL };
  try {
    sendFrame(own, { codec, timestamp, data, rid, isKey: isVideo, ...more });
  } catch {
    // What cannot be sent at the moment is left out, as a camera's picture would be.
  }
}
