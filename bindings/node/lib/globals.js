/** Installs the interfaces as globals, as a browser has them. */

import { isMainThread } from 'node:worker_threads';
import * as twocan from './index.js';
import { KeyFrameRequestEvent, RTCRtpScriptTransformer, RTCTransformEvent, listen } from './script-transformer.js';
import { install } from './serializable.js';
import { mediaDevices } from './media-devices.js';

const { nonstandard, ...interfaces } = twocan;

// What only a worker has.
if (!isMainThread) {
  Object.assign(interfaces, { KeyFrameRequestEvent, RTCRtpScriptTransformer, RTCTransformEvent });
  listen();
}

for (const [name, value] of Object.entries(interfaces)) {
  Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
}

install();

const navigator = globalThis.navigator ?? {};
if (globalThis.navigator === undefined) {
  Object.defineProperty(globalThis, 'navigator', { value: navigator, writable: true, configurable: true });
}
if (navigator.mediaDevices === undefined) {
  Object.defineProperty(navigator, 'mediaDevices', { value: mediaDevices, configurable: true, enumerable: true });
}
