#!/usr/bin/env node
// Ours beside Janus as a server that forwards one to many, and beside the bare loop (Linux).
//
//   node bench/sfu/run.mjs [--viewers N] [--rounds N] [--seconds N] [--bitrate KBITS] [--only ours,janus,bare]
//
// The server has one core to itself, the clients (`twocan load`) the other. What counts is packets that
// viewers received for each second of CPU that the server used, user and system. The engines take
// turns, the first round is not counted, and the median of the others is told. Janus is Debian's
// (`apt-get install janus`); without it its row is left out, and said to be.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const SERVER_CORE = '0';
const CLIENT_CORE = '1';
const HTTP_PORT = 18080;
const JANUS_PORT = 18088;

const options = { viewers: 200, rounds: 6, seconds: 10, bitrate: 2500, only: ['ours', 'janus', 'bare'] };
const words = process.argv.slice(2);
while (words.length > 0) {
  const [word, value] = words.splice(0, 2);
  const name = word.replace(/^--/, '');
  if (!(name in options) || value === undefined) {
    console.error(`options: ${Object.keys(options).map((key) => `--${key}`).join(', ')}, each with a value`);
    process.exit(2);
  }
  options[name] = name === 'only' ? value.split(',') : Number(value);
}

const ip = Object.values(networkInterfaces()).flat().find((own) => own.family === 'IPv4' && !own.internal)?.address ?? '127.0.0.1';
const twocan = join(ROOT, 'target/release/twocan');
const bare = join(ROOT, 'bench/target/release/twocan-bench-sfu');
const folder = mkdtempSync(join(tmpdir(), 'twocan-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function build(words) {
  const { status } = spawnSync('cargo', ['build', '--release', '--locked', ...words], { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

/** Janus with the videoroom and HTTP alone. */
function janus() {
  const write = (name, text) => writeFileSync(join(folder, name), text);
  write('janus.jcfg', `general: { configs_folder = "${folder}" debug_level = 2 session_timeout = 0 }
media: { rtp_port_range = "20000-40000" }
nat: { nice_debug = false ice_lite = false full_trickle = false ice_enforce_list = "${ip}" }
plugins: { disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_lua.so,libjanus_echotest.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so" }
transports: { disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so" }
events: { broadcast = false }
`);
  write('janus.transport.http.jcfg', `general: { json = "compact" base_path = "/janus" http = true port = ${JANUS_PORT} ip = "127.0.0.1" https = false }
admin: { admin_http = false admin_https = false }
`);
  write('janus.plugin.videoroom.jcfg', 'general: { string_ids = false }\n');
  return ['janus', '-F', folder];
}

const engines = {
  ours: {
    command: () => [twocan, 'serve', '--http', `127.0.0.1:${HTTP_PORT}`, '--stun', '127.0.0.1:0', '--topology', 'sfu', '--media-ip', ip, '--media-threads', '1', '--peers-per-forwarded-room', '5000'],
    load: [`http://127.0.0.1:${HTTP_PORT}`],
  },
  janus: { command: janus, load: [`http://127.0.0.1:${JANUS_PORT}`, '--server', 'janus'] },
};

async function serve(name) {
  const { command, load } = engines[name];
  const server = spawn('taskset', ['-c', SERVER_CORE, ...command()], { stdio: 'ignore' });
  await pause(2_000);
  // Another server on its port would be measured in its place.
  if (server.exitCode !== null) throw new Error(`${name}: the server does not run; is its port taken?`);
  try {
    const words = ['-c', CLIENT_CORE, twocan, 'load', ...load, '--ip', ip, '--viewers', String(options.viewers), '--bitrate', String(options.bitrate), '--seconds', String(options.seconds), '--warm-up', '10', '--pid', String(server.pid), '--json'];
    const { stdout, stderr, status } = spawnSync('taskset', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${name}: ${stderr}`);
    return JSON.parse(stdout);
  } finally {
    server.kill('SIGTERM');
    await new Promise((done) => { if (server.exitCode !== null || server.signalCode !== null) done(); else server.once('exit', done); });
  }
}

function loop() {
  // It has a thread on each core.
  const { stdout, stderr, status } = spawnSync(bare, ['--viewers', String(options.viewers), '--bitrate', String(options.bitrate), '--seconds', String(options.seconds)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`bare: ${stderr}`);
  return JSON.parse(stdout);
}

build(['-p', 'twocan-server']);
if (options.only.includes('bare')) build(['--manifest-path', 'bench/Cargo.toml', '-p', 'twocan-bench-sfu']);
if (options.only.includes('janus') && spawnSync('janus', ['--version']).error) {
  console.log('janus is not installed: its row is NOT RUN');
  options.only = options.only.filter((name) => name !== 'janus');
}

const results = Object.fromEntries(options.only.map((name) => [name, []]));
for (let round = 0; round <= options.rounds; round += 1) {
  for (const name of options.only) {
    const result = name === 'bare' ? loop() : await serve(name);
    console.log(`${round === 0 ? 'not counted' : `round ${round}`} ${name}: ${JSON.stringify(result)}`);
    if (round > 0) results[name].push(result);
  }
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const of = (name, what) => median(results[name].map(what));
const rate = Object.fromEntries(options.only.map((name) => [name, of(name, (own) => own.packets_per_busy_core)]));
console.log(`\n1 publisher of ${options.bitrate} kbit/s, ${options.viewers} viewers, median of ${options.rounds}:\n`);
console.log('| | packets per busy core and second | of ours | delay p50 / p99 | missing | memory |');
console.log('|---|---|---|---|---|---|');
for (const name of options.only) {
  const cells = name === 'bare' ? ['', '', ''] : [
    `${of(name, (own) => own.delay_ms.p50).toFixed(1)} / ${of(name, (own) => own.delay_ms.p99).toFixed(1)} ms`,
    `${(of(name, (own) => own.packets_missing / (own.packets_received + own.packets_missing)) * 100).toFixed(3)} %`,
    `${(of(name, (own) => own.server_memory_bytes) / 1e6).toFixed(0)} MB`,
  ];
  console.log(`| ${name} | ${Math.round(rate[name]).toLocaleString('en')} | ${(rate[name] / (rate.ours ?? rate[name])).toFixed(2)} | ${cells.join(' | ')} |`);
}
