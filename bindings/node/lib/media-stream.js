/** `MediaStream` (W3C mediacapture-main §4.2). */

import { randomUUID } from 'node:crypto';
import { Slots, handlerAttributes, interfaceOf, required, sequence, shape, string } from './webidl.js';
import { MediaStreamTrackEvent, register } from './events.js';
import { MediaStreamTrack } from './media-stream-track.js';

export const streams = new Slots('MediaStream');
const isTrack = interfaceOf(MediaStreamTrack, 'MediaStreamTrack');
const isTracks = sequence(isTrack);

export class MediaStream extends EventTarget {
  constructor() {
    super();
    const given = arguments[0];
    let own = [];
    if (given instanceof MediaStream) own = given.getTracks();
    else if (given !== undefined) own = isTracks(given);
    streams.set(this, { id: randomUUID(), tracks: [...new Set(own)], active: false });
    streams.of(this).active = this.active;
  }
  get id() {
    return streams.of(this).id;
  }
  get active() {
    return streams.of(this).tracks.some((track) => track.readyState === 'live');
  }
  getAudioTracks() {
    return streams.of(this).tracks.filter((track) => track.kind === 'audio');
  }
  getVideoTracks() {
    return streams.of(this).tracks.filter((track) => track.kind === 'video');
  }
  getTracks() {
    return [...streams.of(this).tracks];
  }
  getTrackById(trackId) {
    const own = streams.of(this);
    required(1, arguments.length, 'getTrackById');
    const id = string(trackId);
    return own.tracks.find((track) => track.id === id) ?? null;
  }
  addTrack(track) {
    const own = streams.of(this);
    required(1, arguments.length, 'addTrack');
    isTrack(track);
    if (!own.tracks.includes(track)) own.tracks.push(track);
  }
  removeTrack(track) {
    const own = streams.of(this);
    required(1, arguments.length, 'removeTrack');
    isTrack(track);
    own.tracks = own.tracks.filter((known) => known !== track);
  }
  clone() {
    return new MediaStream(streams.of(this).tracks.map((track) => track.clone()));
  }
}
shape(MediaStream, 'MediaStream');
handlerAttributes(MediaStream, streams, ['addtrack', 'removetrack']);
register('MediaStream', MediaStream);

/** A stream of the other side, with the id that its description gives. */
export function remoteStream(id) {
  const stream = new MediaStream();
  streams.of(stream).id = id;
  return stream;
}

/** The user agent adds a track, and says so. */
export function addRemote(stream, track) {
  const own = streams.of(stream);
  if (own.tracks.includes(track)) return;
  own.tracks.push(track);
  stream.dispatchEvent(new MediaStreamTrackEvent('addtrack', { track }));
}

/** The user agent takes a track away, and says so. */
export function removeRemote(stream, track) {
  const own = streams.of(stream);
  if (!own.tracks.includes(track)) return;
  own.tracks = own.tracks.filter((known) => known !== track);
  stream.dispatchEvent(new MediaStreamTrackEvent('removetrack', { track }));
}

