#!/usr/bin/env node
/**
 * Builds the native library from source into `build/`, or into `prebuilt/` for a tarball:
 *
 *   node scripts/build.mjs [--prebuilt] [--debug]
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const name = `twocan.${process.platform}-${process.arch}.node`;
const built = {
  linux: 'libtwocan_node.so', freebsd: 'libtwocan_node.so', darwin: 'libtwocan_node.dylib', win32: 'twocan_node.dll',
};

/** Ends with what is missing, and what to do about it. */
function fail(...lines) {
  for (const line of lines) console.error(`twocan: ${line}`);
  process.exit(1);
}

export function build({ prebuilt = false, debug = false } = {}) {
  const manifest = join(here, 'Cargo.toml');
  const workspace = join(here, '..', '..', 'Cargo.toml');
  if (!existsSync(workspace)) {
    fail(
      `this package has no library for ${process.platform}-${process.arch}, and not the sources to build one`,
      'build it in the repository with `node bindings/node/scripts/build.mjs --prebuilt`, and pack it again',
    );
  }
  const cargo = spawnSync('cargo', ['--version'], { stdio: 'ignore' });
  if (cargo.status !== 0) fail('cargo was not found; install Rust, and a C compiler', 'see https://rustup.rs');
  const profile = debug ? [] : ['--release'];
  const run = spawnSync('cargo', ['build', ...profile, '--locked', '--manifest-path', manifest], { stdio: 'inherit' });
  if (run.status !== 0) fail('cargo could not build the library; a C compiler is needed as well');
  const target = process.env.CARGO_TARGET_DIR ?? join(dirname(workspace), 'target');
  const folder = join(here, prebuilt ? 'prebuilt' : 'build');
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(target, debug ? 'debug' : 'release', built[process.platform] ?? built.linux), join(folder, name));
  console.log(`twocan: ${join(folder, name)}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  build({ prebuilt: process.argv.includes('--prebuilt'), debug: process.argv.includes('--debug') });
}
