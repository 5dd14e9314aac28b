import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import * as twocan from '../lib/index.js';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

test('a program is checked with the definitions', () => {
  const run = spawnSync(path('./node_modules/.bin/tsc'), ['-p', path('./types/tsconfig.json')], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stdout);
});

test('everything that is exported is defined', () => {
  const definitions = readFileSync(path('../index.d.ts'), 'utf8');
  for (const name of Object.keys(twocan)) {
    assert.match(definitions, new RegExp(`export (const|namespace) ${name}\\b`), name);
  }
});
