/** The tarball: what it installs, and what it says where it cannot. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const here = fileURLToPath(new URL('..', import.meta.url));
const name = `twocan.${process.platform}-${process.arch}.node`;
const library = process.env.TWOCAN_NODE_LIBRARY ?? join(here, 'build', name);

function copyOfPackage(t) {
  const folder = mkdtempSync(join(tmpdir(), 'twocan-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const own = join(folder, 'package');
  mkdirSync(own);
  for (const part of ['lib', 'scripts', 'package.json', 'index.d.ts', 'globals.d.ts', 'README.md']) {
    cpSync(join(here, part), join(own, part), { recursive: true });
  }
  return { folder, own };
}

const env = { ...process.env, npm_config_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false' };
delete env.TWOCAN_NODE_LIBRARY;

test('a packed tarball with a library for the platform installs, and works', (t) => {
  const { folder, own } = copyOfPackage(t);
  mkdirSync(join(own, 'prebuilt'));
  copyFileSync(library, join(own, 'prebuilt', name));
  const npm = (directory, ...more) => execFileSync('npm', more, { cwd: directory, env, encoding: 'utf8' });
  const tarball = npm(own, 'pack', '--silent').trim().split('\n').pop();
  const user = join(folder, 'user');
  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), '{ "private": true }');
  npm(user, 'install', join(own, tarball));
  assert.ok(existsSync(join(user, 'node_modules', 'twocan', 'prebuilt', name)));
  const script = "const { RTCPeerConnection } = require('twocan'); new RTCPeerConnection(); console.log('made')";
  assert.equal(execFileSync(process.execPath, ['-e', script], { cwd: user, env, encoding: 'utf8' }), 'made\n');
});

test('without a library and without sources, the installation says so', (t) => {
  const { own } = copyOfPackage(t);
  const run = spawnSync(process.execPath, ['scripts/install.mjs'], { cwd: own, env, encoding: 'utf8' });
  assert.equal(run.status, 1);
  assert.match(run.stderr, /no library for .*, and not the sources/);
  const script = "import('twocan').catch(({ message }) => console.log(message))";
  const load = spawnSync(process.execPath, ['-e', script.replace('twocan', './lib/index.js')], { cwd: own, env, encoding: 'utf8' });
  assert.match(load.stdout, /no native library for/);
});
