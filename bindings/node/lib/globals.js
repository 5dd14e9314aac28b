/** Installs the interfaces as globals, as a browser has them. */

import * as twocan from './index.js';

const { nonstandard, ...interfaces } = twocan;

for (const [name, value] of Object.entries(interfaces)) {
  Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
}

const navigator = globalThis.navigator ?? {};
if (globalThis.navigator === undefined) {
  Object.defineProperty(globalThis, 'navigator', { value: navigator, writable: true, configurable: true });
}
if (navigator.mediaDevices === undefined) {
  const mediaDevices = { getUserMedia: nonstandard.getUserMedia };
  Object.defineProperty(navigator, 'mediaDevices', { value: mediaDevices, configurable: true, enumerable: true });
}
