/**
 * Media that needs no device: a still grey picture and silence, sent by the senders whose tracks come from
 * `getUserMedia`. The pictures were encoded once: a key frame, and where the codec lets it be sent again and
 * again one that says that nothing has changed.
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

/** Pictures from one key frame to the next, where nobody asks for one earlier: ten seconds. */
const KEY_EVERY = 100;

/** What one turn sends at most after the event loop was held up. */
const BURST_MAX = 5;

const packed = {
  VP8: {
    key: 'E3BmmMuo1cD0gNFSnYFPRoVHR8fljIrDDAYGg7PbT6Ss2amir++9y1k19aRiZVXsJUltPU/u05feTTgZWeQRFze9pM3r' +
      '9CSnT192LzEKi5kkPn3pXcVJm55M2LNX7yXP1OkqrU9flnuMGjKEDYk5wAAA',
    delta: '28jC8OTEDfP/6wX8/Tdy6T8xbpA/kLj/gkH8CwkJ/S88jDcUmjgUmtgZGAA=',
  },
  VP9: {
    key: 'a/ZsdmJQ/yD7QeHBhILEAgeGA84v9n94wAAERgXsvf96ll1XPc9VFjPtuam5ppZV2/k4U5bduud35UVdmSq75MArzrKY' +
      '+VOebF2pZVU2ZakK6ToA',
    delta: 'a2dk8vJkZ2lu1mFiYC84pX/xMAMIsEY4/HlQByYA',
  },
  AV1: {
    key: 'AUQAu/8SAAoLAAAAJMT/3z/+YBAyMxAAgAAAAEp99//+DXFzF7qraLrM1AefLI5bHWn5oyHzJ1uact3aQil06F90yoWo' +
      'azjI0A==',
  },
  H264: {
    key: 'Y2BgYEx3OiB2k2GB7QZBBgZmBkYQIcIvpufBwMDAmHG6+bQCAwNjakcL76ekBsaflkQBq9frdo2iUTSKaIn2AAA=',
  },
};
const pictures = new Map();

/** The pictures of a codec: `key`, and `delta` where there is one; null for a codec that there are none in. */
function picturesIn(codec) {
  if (packed[codec] === undefined) return null;
  if (!pictures.has(codec)) {
    const unpack = (text) => (text === undefined ? undefined : inflateRawSync(Buffer.from(text, 'base64')));
    pictures.set(codec, { key: unpack(packed[codec].key), delta: unpack(packed[codec].delta) });
  }
  return pictures.get(codec);
}

/** Silence of 20 ms: Opus as RFC 6716 §3 has it with frames of no coded bands, G.711 as its zero. */
const silence = {
  OPUS: Buffer.from([0xf8, 0xff, 0xfe]),
  PCMU: Buffer.alloc(160, 0xff),
  PCMA: Buffer.alloc(160, 0xd5),
};

/** The first of the codecs that there is something in: its name as agreed, and its frames. */
function choose(kind, codecs) {
  for (const { mimeType, clockRate } of codecs) {
    const name = mimeType.slice(mimeType.indexOf('/') + 1);
    const media = kind === 'video' ? picturesIn(name.toUpperCase()) : silence[name.toUpperCase()];
    if (media) return { codec: name, clockRate, media };
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
  own.fed ??= { next: now, choice: null, streams: new Map() };
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

function sendOne(own, choice) {
  const begin = performance.now();
  const frame = own.kind === 'video' ? nextPicture(own.fed.streams, choice) : { data: choice.media, audioLevel: SILENCE_LEVEL };
  const { codec, timestamp, rid } = choice;
  try {
    sendFrame(own, { codec, timestamp, rid, encodeSeconds: (performance.now() - begin) / 1000, ...frame });
  } catch {
    // What cannot be sent at the moment is left out, as a camera's picture would be; what came after it would need it.
    own.fed.streams.get(rid)?.requests.add('lost');
  }
}

/** The next picture of an encoding: each one but a key frame needs the one before it. */
function nextPicture(streams, { codec, rid, media: { key, delta } }) {
  let own = streams.get(rid);
  if (own === undefined) streams.set(rid, (own = { codec, frameId: 0, since: 0, requests: new Set() }));
  const isKey = delta === undefined || own.frameId === 0 || own.codec !== codec || own.requests.size > 0 || own.since >= KEY_EVERY;
  own.requests.clear();
  own.codec = codec;
  own.since = isKey ? 1 : own.since + 1;
  own.frameId += 1;
  const place = { frameId: own.frameId, dependencies: isKey ? [] : [own.frameId - 1], spatialIndex: 0, temporalIndex: 0 };
  return { data: isKey ? key : delta, isKey, size: { width: picture.width, height: picture.height }, place };
}

/** Lets the next picture be a key frame: of one encoding, or of all. Whatever the application writes is its own. */
export function wantKeyFrame(own, rid) {
  if (own.fed === null) return;
  for (const [each, stream] of own.fed.streams) if (rid === undefined || rid === each) stream.requests.add('wanted');
}
