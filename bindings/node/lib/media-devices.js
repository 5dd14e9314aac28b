/** `MediaDevices` and what belongs to it (W3C mediacapture-main §9), with synthetic devices. */

import {
  Slots, dictionary, handlerAttributes, illegal, inside, required, sequence, shape, string,
} from './webidl.js';
import { queueTask } from './tasks.js';
import { MediaStream } from './media-stream.js';
import { MediaStreamTrack } from './media-stream-track.js';
import { picture } from './synthetic-media.js';

const infos = new Slots('MediaDeviceInfo');
const devices = new Slots('MediaDevices');

export class MediaDeviceInfo {
  constructor() {
    illegal(arguments[0]);
    infos.set(this, arguments[1]);
  }
  get deviceId() {
    return infos.of(this).deviceId;
  }
  get kind() {
    return infos.of(this).kind;
  }
  get label() {
    return infos.of(this).label;
  }
  get groupId() {
    return infos.of(this).groupId;
  }
  toJSON() {
    const { deviceId, kind, label, groupId } = infos.of(this);
    return { deviceId, kind, label, groupId };
  }
}
shape(MediaDeviceInfo, 'MediaDeviceInfo');

export class InputDeviceInfo extends MediaDeviceInfo {
  getCapabilities() {
    const { deviceId, groupId, kind } = infos.of(this);
    return { deviceId, groupId, ...capabilities(kind === 'audioinput' ? 'audio' : 'video') };
  }
}
shape(InputDeviceInfo, 'InputDeviceInfo');

const changes = new Slots('DeviceChangeEvent');
const isInfo = (value) => {
  if (!infos.has(value)) throw new TypeError('not a MediaDeviceInfo');
  return value;
};
const toChange = dictionary('DeviceChangeEventInit', { devices: { as: sequence(isInfo), or: () => [] } });

export class DeviceChangeEvent extends Event {
  constructor(type, init = {}) {
    required(1, arguments.length, 'DeviceChangeEvent');
    const { devices: given } = toChange(init);
    super(string(type), init ?? undefined);
    changes.set(this, { devices: Object.freeze(given), inserted: Object.freeze([]) });
  }
  get devices() {
    return changes.of(this).devices;
  }
  get userInsertedDevices() {
    return changes.of(this).inserted;
  }
}
shape(DeviceChangeEvent, 'DeviceChangeEvent');

const constraints = new Slots('OverconstrainedError');

export class OverconstrainedError extends DOMException {
  constructor(constraint, message = '') {
    required(1, arguments.length, 'OverconstrainedError');
    super(string(message), 'OverconstrainedError');
    constraints.set(this, { constraint: string(constraint) });
  }
  get constraint() {
    return constraints.of(this).constraint;
  }
}
shape(OverconstrainedError, 'OverconstrainedError');

const ids = { audio: 'synthetic-microphone', video: 'synthetic-camera' };

function capabilities(kind) {
  if (kind === 'audio') return { sampleRate: { min: 48000, max: 48000 }, channelCount: { min: 1, max: 2 } };
  const { width, height, frameRate } = picture;
  const one = (value) => ({ min: value, max: value });
  return { width: one(width), height: one(height), frameRate: one(frameRate) };
}

/** The settings of a synthetic source. */
function settings(kind) {
  const device = { deviceId: ids[kind], groupId: 'synthetic' };
  return kind === 'audio' ? { ...device, sampleRate: 48000, channelCount: 1 } : { ...device, ...picture };
}

/** A required value that the source does not have: the constraint's name. */
function unmet(kind, wanted) {
  if (typeof wanted !== 'object' || wanted === null) return null;
  const own = settings(kind);
  for (const [name, value] of Object.entries(wanted)) {
    if (!(name in own) || typeof value !== 'object' || value === null) continue;
    const { exact, min, max } = value;
    const exacts = exact === undefined ? null : [exact].flat();
    if (exacts !== null && !exacts.includes(own[name])) return name;
    if ((min !== undefined && own[name] < min) || (max !== undefined && own[name] > max)) return name;
  }
  return null;
}

/** A live track with media of its own. */
export function syntheticTrack(kind, wanted = {}) {
  const label = kind === 'audio' ? 'Synthetic microphone' : 'Synthetic camera';
  const source = { settings: settings(kind), capabilities: capabilities(kind) };
  const constrained = typeof wanted === 'object' && wanted !== null ? { ...wanted } : {};
  return new MediaStreamTrack(inside, { kind, label, source, constraints: constrained });
}

const anything = (value) => value;
const toConstraints = dictionary('MediaStreamConstraints', {
  audio: { as: anything, or: false },
  peerIdentity: { as: string },
  video: { as: anything, or: false },
});

/** `getUserMedia` with synthetic devices (mediacapture-main §10.2). */
export async function getUserMedia(given = {}) {
  const asked = toConstraints(given);
  const kinds = ['audio', 'video'].filter((kind) => asked[kind] !== undefined && asked[kind] !== null && asked[kind] !== false);
  if (kinds.length === 0) throw new TypeError('neither audio nor video is asked for');
  if (asked.peerIdentity !== undefined) throw new DOMException('media cannot be isolated', 'NotSupportedError');
  await new Promise((resolve) => queueTask(resolve));
  for (const kind of kinds) {
    const name = unmet(kind, asked[kind]);
    if (name !== null) throw new OverconstrainedError(name, `the synthetic device has another ${name}`);
  }
  return new MediaStream(kinds.map((kind) => syntheticTrack(kind, asked[kind])));
}

const supported = ['deviceId', 'groupId', 'width', 'height', 'frameRate', 'sampleRate', 'channelCount'];

export class MediaDevices extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    devices.set(this, {});
  }
  async enumerateDevices() {
    devices.of(this);
    const made = (kind, label) => new InputDeviceInfo(inside, {
      deviceId: ids[kind], kind: `${kind}input`, label, groupId: 'synthetic',
    });
    return [made('audio', 'Synthetic microphone'), made('video', 'Synthetic camera')];
  }
  getSupportedConstraints() {
    devices.of(this);
    return Object.fromEntries(supported.map((name) => [name, true]));
  }
  async getUserMedia() {
    devices.of(this);
    return getUserMedia(arguments[0]);
  }
}
shape(MediaDevices, 'MediaDevices');
handlerAttributes(MediaDevices, devices, ['devicechange']);

/** `navigator.mediaDevices`. */
export const mediaDevices = new MediaDevices(inside);
