/** `MediaDevices` and what belongs to it (W3C mediacapture-main §9), with synthetic devices. */

import {
  Slots, dictionary, handlerAttributes, illegal, inside, required, sequence, shape, string,
} from './webidl.js';
import { OverconstrainedError, demand, supported } from './constraints.js';
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
    const { deviceId, kind } = infos.of(this);
    return deviceId === '' ? {} : capabilities(kind === 'audioinput' ? 'audio' : 'video');
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

const ids = { audio: 'synthetic-microphone', video: 'synthetic-camera' };

const one = (value) => ({ min: value, max: value });

/** The settings of a synthetic source. Nothing is done to its sound, and its picture has one size. */
function settings(kind) {
  const device = { deviceId: ids[kind], groupId: 'synthetic' };
  if (kind === 'video') {
    const { width, height } = picture;
    return { ...device, ...picture, aspectRatio: width / height, facingMode: 'user', resizeMode: 'none' };
  }
  const processing = { echoCancellation: false, autoGainControl: false, noiseSuppression: false };
  return { ...device, sampleRate: 48000, sampleSize: 16, channelCount: 1, latency: 0.02, ...processing };
}

/** What it can be: numbers as ranges, the others as lists. */
function capabilities(kind) {
  const { deviceId, groupId, ...own } = settings(kind);
  const ways = Object.entries(own).map(([name, value]) => [name, typeof value === 'number' ? one(value) : [value]]);
  return { deviceId, groupId, ...Object.fromEntries(ways) };
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
  for (const kind of kinds) demand(kind, settings(kind), asked[kind]);
  opened = true;
  return new MediaStream(kinds.map((kind) => syntheticTrack(kind, asked[kind])));
}

/** Before the first of them was opened, devices have no names (§9.2.1). */
let opened = false;

export class MediaDevices extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    devices.set(this, {});
  }
  async enumerateDevices() {
    devices.of(this);
    const made = (kind, label) => new InputDeviceInfo(inside, {
      kind: `${kind}input`,
      ...(opened ? { deviceId: ids[kind], label, groupId: 'synthetic' } : { deviceId: '', label: '', groupId: '' }),
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

export { OverconstrainedError };

/** `navigator.mediaDevices`. */
export const mediaDevices = new MediaDevices(inside);
