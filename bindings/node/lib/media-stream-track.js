/** `MediaStreamTrack` as a container (W3C mediacapture-main §4.3): it has a source or none, and no samples. */

import { randomUUID } from 'node:crypto';
import { Slots, boolean, enumeration, handlerAttributes, illegal, inside, shape, string } from './webidl.js';
import { fire, register } from './events.js';

export const tracks = new Slots('MediaStreamTrack');
const hints = {
  audio: ['', 'speech', 'speech-recognition', 'music'],
  video: ['', 'motion', 'detail', 'text'],
};
const isHint = { audio: enumeration('hint', hints.audio), video: enumeration('hint', hints.video) };

export class MediaStreamTrack extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    const { kind, label = '', muted = false, id = randomUUID() } = arguments[1];
    tracks.set(this, { kind, label, id, muted, enabled: true, ended: false, hint: '', settings: {}, constraints: {} });
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
  clone() {
    const own = tracks.of(this);
    const copy = new MediaStreamTrack(inside, { kind: own.kind, label: own.label, muted: own.muted });
    Object.assign(tracks.of(copy), { enabled: own.enabled, ended: own.ended, hint: own.hint });
    return copy;
  }
  stop() {
    tracks.of(this).ended = true;
  }
  getCapabilities() {
    return { deviceId: tracks.of(this).id };
  }
  getConstraints() {
    return tracks.of(this).constraints;
  }
  getSettings() {
    return { deviceId: tracks.of(this).id };
  }
  async applyConstraints(constraints = {}) {
    tracks.of(this).constraints = { ...constraints };
  }
}
shape(MediaStreamTrack, 'MediaStreamTrack');
handlerAttributes(MediaStreamTrack, tracks, ['mute', 'unmute', 'ended']);
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
