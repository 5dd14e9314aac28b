/** What sources can be asked for, and what they answer (W3C mediacapture-main §4.3.8, §11). */

import { Slots, required, shape, string } from './webidl.js';

const errors = new Slots('OverconstrainedError');

export class OverconstrainedError extends DOMException {
  constructor(constraint, message = '') {
    required(1, arguments.length, 'OverconstrainedError');
    super(string(message), 'OverconstrainedError');
    errors.set(this, { constraint: string(constraint) });
  }
  get constraint() {
    return errors.of(this).constraint;
  }
}
shape(OverconstrainedError, 'OverconstrainedError');

const common = ['deviceId', 'groupId'];
/** The constrainable properties of each kind: others are not known, and not looked at. */
const properties = {
  audio: [...common, 'sampleRate', 'sampleSize', 'echoCancellation', 'autoGainControl', 'noiseSuppression', 'latency', 'channelCount'],
  video: [...common, 'width', 'height', 'aspectRatio', 'frameRate', 'facingMode', 'resizeMode'],
};

/** `getSupportedConstraints`: the names, each once. */
export const supported = [...new Set(Object.values(properties).flat())];

/** Of `wanted`, the first property that a source with these settings cannot have as it is required. */
export function unmet(kind, settings, wanted) {
  if (typeof wanted !== 'object' || wanted === null) return null;
  for (const name of properties[kind]) {
    const value = wanted[name];
    if (typeof value !== 'object' || value === null || Array.isArray(value)) continue;
    const { exact, min, max } = value;
    const own = settings[name];
    if (exact !== undefined && ![exact].flat().includes(own)) return name;
    if ((min !== undefined && !(own >= min)) || (max !== undefined && !(own <= max))) return name;
  }
  return null;
}

/** Throws where a source with these settings cannot be as it is required. */
export function demand(kind, settings, wanted) {
  const name = unmet(kind, settings, wanted);
  if (name !== null) throw new OverconstrainedError(name, `the source has another ${name}`);
}
