/** `MediaStreamTrack` as a container (W3C mediacapture-main §4.3): it has a source or none, and no samples. */

import { randomUUID } from 'node:crypto';
import { Slots, boolean, enumeration, handlerAttributes, illegal, inside, shape, string } from './webidl.js';
import { demand } from './constraints.js';
import { fire, register } from './events.js';

export const tracks = new Slots('MediaStreamTrack');
const hints = {
  audio: ['', 'speech', 'speech-recognition', 'music'],
  video: ['', 'motion', 'detail', 'text'],
};
const isHint = { audio: enumeration('hint', hints.audio), video: enumeration('hint', hints.video) };

const toConstraints = (value) => {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' && typeof value !== 'function') throw new TypeError('not MediaTrackConstraints');
  return value;
};

export class MediaStreamTrack extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    const { kind, label = '', muted = false, id = randomUUID(), source = null, constraints = {} } = arguments[1];
    tracks.set(this, { kind, label, id, muted, source, constraints, enabled: true, ended: false, hint: '' });
  }
  get kind() {
    return tracks.of(this).kind;
  }
  get id() {
    return tracks.of(this).id;
  }
  get label() {
    return tracks.of(this).label;
  }
  get enabled() {
    return tracks.of(this).enabled;
  }
  set enabled(value) {
    tracks.of(this).enabled = boolean(value);
  }
  get muted() {
    return tracks.of(this).muted;
  }
  get readyState() {
    return tracks.of(this).ended ? 'ended' : 'live';
  }
  get contentHint() {
    return tracks.of(this).hint;
  }
  set contentHint(value) {
    const own = tracks.of(this);
    try {
      own.hint = isHint[own.kind](string(value));
    } catch {
      // An enumeration attribute ignores what it does not know.
    }
  }
  get isolated() {
    // No media is kept from the application that asked for it.
    tracks.of(this);
    return false;
  }
  clone() {
    const own = tracks.of(this);
    const { kind, label, muted, source, constraints } = own;
    const copy = new MediaStreamTrack(inside, { kind, label, muted, source, constraints: structuredClone(constraints) });
    Object.assign(tracks.of(copy), { enabled: own.enabled, ended: own.ended, hint: own.hint });
    return copy;
  }
  stop() {
    tracks.of(this).ended = true;
  }
  getCapabilities() {
    const { id, source } = tracks.of(this);
    return source === null ? { deviceId: id } : structuredClone(source.capabilities);
  }
  getConstraints() {
    return structuredClone(tracks.of(this).constraints);
  }
  getSettings() {
    const { id, source } = tracks.of(this);
    return source === null ? { deviceId: id } : { ...source.settings };
  }
  async applyConstraints() {
    const own = tracks.of(this);
    const wanted = toConstraints(arguments[0]);
    // What has ended is as it was (§4.3.8).
    if (own.ended) return;
    if (own.source !== null) demand(own.kind, own.source.settings, wanted);
    own.constraints = { ...wanted };
  }
}
shape(MediaStreamTrack, 'MediaStreamTrack');
handlerAttributes(MediaStreamTrack, tracks, ['mute', 'unmute', 'ended', 'isolationchange']);
register('MediaStreamTrack', MediaStreamTrack);

/** The source of a track went silent or came back (mediacapture-main §4.3.1.1). */
export function setMuted(track, muted) {
  const own = tracks.of(track);
  if (own.muted === muted || own.ended) return;
  own.muted = muted;
  fire(track, muted ? 'mute' : 'unmute');
}

/** The source of a track is gone: `ended` is told, unlike after `stop()`. */
export function endTrack(track) {
  const own = tracks.of(track);
  if (own.ended) return;
  own.ended = true;
  fire(track, 'ended');
}
