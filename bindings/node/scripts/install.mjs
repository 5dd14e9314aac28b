/** After `npm install`: uses the library of the tarball, or builds one. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { build } from './build.mjs';

const name = `twocan.${process.platform}-${process.arch}.node`;
const has = (folder) => existsSync(fileURLToPath(new URL(`../${folder}/${name}`, import.meta.url)));
if (!process.env.TWOCAN_NODE_LIBRARY && !has('prebuilt') && !has('build')) build();
