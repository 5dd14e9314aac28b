/** Finds the native half: built from source, or beside this package for the platform. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Where it may be, the first that is there counts. */
function places() {
  const name = `twocan.${process.platform}-${process.arch}.node`;
  const here = (path) => fileURLToPath(new URL(path, import.meta.url));
  const named = process.env.TWOCAN_NODE_LIBRARY;
  return [...(named ? [named] : []), here(`../prebuilt/${name}`), here(`../build/${name}`)];
}

function load() {
  const all = places();
  const found = all.find((path) => existsSync(path));
  if (found === undefined) {
    const text = [
      `twocan has no native library for ${process.platform}-${process.arch}.`,
      'Build it with `npm run build` in the package, which needs cargo and a C compiler.',
      `Looked for: ${all.join(', ')}`,
    ];
    throw new Error(text.join('\n'));
  }
  const module = { exports: {} };
  process.dlopen(module, found);
  return module.exports;
}

const library = load();
export const { NativeConnection, NativeCertificate, capabilities } = library;
