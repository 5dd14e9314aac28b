#!/usr/bin/env node
// The interop matrix: our stack against each third-party peer, both offer directions, data and media.
//
//   node tests/interop/run.mjs --ours target/debug/twocan [--quick] [--media] [--peers chromium,firefox,...]
//   node tests/interop/run.mjs --pair A B [--pair C D ...]       peers among themselves (`ours` is a name too)
//
// Ends with `N passed, N failed, N skipped` alone on the last line; exit code 0 when nothing failed.
import { accessSync, constants, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { PEERS, notRunnable, peersOwnRace } from './catalog.mjs';
import { enterLossyNetwork, enterNetwork, enterRelayNetwork } from './network.mjs';
import { audioCount, runPair, stopAll, videoFrames } from './pair.mjs';

const USAGE = `usage: run.mjs (--ours TWOCAN | --pair A B)... [options]
  --ours PATH        our binary; run as PATH peer offer|answer [--media] [--pings N]
  --pair A B         instead of the matrix: A and B with each other, both directions; may be repeated
  --peers A,B,...    only these peers: ${Object.keys(PEERS).join(', ')}
  --quick            only what install.sh quick installs, and fewer messages
  --media            media rows as well, where the peer can: VP8, simulcast, and without --quick VP9, AV1 and H264
  --media-only       media rows only
  --repair           rows with lost packets as well, where the peer has FEC or RED (needs root and nft)
  --repair-only      these rows only
  --relay            rows through coturn as well: ours uses nothing but the relay (needs root and coturn)
  --relay-only       these rows only
  --tcp              rows over TCP as well, where the peer can: ours has no UDP, and listens
  --tcp-only         these rows only
  --lite             rows as ICE-lite as well: ours sends no checks
  --lite-only        these rows only
  --video CODEC      vp8, vp9, av1 or h264: media rows with this codec only
  --pings N          messages per run (default 200, 50 with --quick)
  --repeat N         every row N times; it is green only when all of them are
  --loopback         give ours --loopback (done by itself where only 127.0.0.1 is there)
  --json FILE        every result in full
  --table FILE       the table in Markdown
  --verbose          what the sides of a failed row wrote to stderr`;

/** The time one run may take, start of the processes included; a browser needs up to 8 s for that on a busy machine. */
const DEADLINE_DATA_MS = 50_000;
const DEADLINE_MEDIA_MS = 70_000;
/** The peers give up by themselves a little earlier, so that a row has their own reason and not just the deadline. */
const PEER_TIMEOUT_DATA_S = 30;
const PEER_TIMEOUT_MEDIA_S = 45;

/** Datagrams lost in rows of repair, in percent, and how long media goes: reports must tell of the loss first. */
const REPAIR_LOSS = 10;
const REPAIR_SECONDS = 20;
/** Messages of such a row: SCTP takes its time for each that is lost. */
/** What rows of repair are about; `ccfb` is about reports of arrivals, which must tell of the loss. */
const REPAIRS = ['ulpfec', 'flexfec', 'red', 'ccfb'];
const REPAIR_PINGS = 2;

/** Of pictures. */
const CODECS = ['vp8', 'vp9', 'av1', 'h264'];

/** Three qualities of a picture from a browser to ours, or the first of ours to a browser, whose answer refuses the others. */
const SIMULCAST = 'media simulcast';

/** Ours has pictures played late, and Chromium says that ours is to: how late at least, in ms, and what Chromium states. */
const DELAY = 'media delay';
const DELAY_MS = 400;

/** How often a run is done again that failed by the peer's own race: at 1 in 6 this leaves 1 row in 7,776. */
const RACE_RETRIES_MAX = 4;

const options = parse(process.argv.slice(2));
const network = enterNetwork();
const lossy = options.kinds.some(isRepair) ? enterLossyNetwork(REPAIR_LOSS) : null;
const relayed = options.kinds.some(isRelay) ? enterRelayNetwork() : null;
process.on('exit', () => { network.close(); lossy?.close(); relayed?.close(); });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, async () => { await stopAll(); process.exit(1); });

const rows = options.pairs.length > 0 ? pairRows() : matrixRows();
console.log(`interop: ${rows.length} rows, on ${network.describe}`);
const results = [];
for (const row of rows) {
  const result = await runRow(row);
  results.push(result);
  console.log(line(result));
  if (options.verbose && result.state === 'FAIL') for (const [index, lines] of (result.runs.at(-1).stderr ?? []).entries()) for (const text of lines) console.log(`    ${index === 0 ? 'offerer' : 'answerer'}: ${text}`);
}

const count = (...states) => results.filter((result) => states.includes(result.state)).length;
const table = markdown(results);
console.log(`\n${table}`);
if (options.table) writeFileSync(options.table, table);
if (options.json) writeFileSync(options.json, `${JSON.stringify({ network: network.describe, rows: results }, null, 1)}\n`);
for (const result of results) if (result.state === 'NOT RUN') console.log(`NOT RUN: ${result.offerer} > ${result.answerer} ${result.kind}: ${result.why}`);
console.log(`${count('pass')} passed, ${count('FAIL')} failed, ${count('NOT RUN')} skipped`);
process.exit(count('FAIL') > 0 ? 1 : 0);

function matrixRows() {
  const own = options.kinds.filter((kind) => isRelay(kind) || isTcp(kind)).map((kind) => ({ offerer: 'ours', answerer: 'ours', kind }));
  return [...own, ...options.peers.flatMap((name) => options.kinds.flatMap((kind) => [
    { offerer: 'ours', answerer: name, kind },
    { offerer: name, answerer: 'ours', kind },
    // What an answerer prefers does not bind what it sends: with VP8 in our offer, VP8 may come.
  ].filter((row) => !/^media (h264|vp9|av1)$/.test(kind) || row.answerer === 'ours')))].filter(possible);
}

function pairRows() {
  return options.pairs.flatMap(([a, b]) => options.kinds.flatMap((kind) => a === b
    ? [{ offerer: a, answerer: b, kind }]
    : [{ offerer: a, answerer: b, kind }, { offerer: b, answerer: a, kind }])).filter(possible);
}

/** Rows that a peer can never do (media with a data-only peer) are no rows at all. */
function possible({ offerer, answerer, kind }) {
  if (PEERS[offerer]?.answersOnly) return false;
  if (kind === SIMULCAST) return [offerer, answerer].includes('ours') && [offerer, answerer].some((name) => PEERS[name]?.simulcast);
  const others = [offerer, answerer].filter((name) => name !== 'ours').map((name) => PEERS[name]);
  if (kind === DELAY) return others.length === 1 && others[0].playoutDelay !== undefined;
  if (isTcp(kind) && !others.every((peer) => peer.tcp)) return false;
  if (isRepair(kind)) return others.every((peer) => peer.repair?.includes(repairOf(kind)));
  if (codecOf(kind) !== null && others.length === 2 && others.every((peer) => peer.mirrors)) return false;
  return codecOf(kind) === null || others.every((peer) => peer.media.includes(codecOf(kind)));
}

/** A kind is `data`, `media` and the video codec that the peer is told to insist on, media with three qualities, `repair` and by what, `relay` and how it is reached, or `tcp`, the last two with media and the codec, or `lite`. */
function codecOf(kind) {
  if (isRelay(kind)) return kind.split(' ')[2] ?? null;
  if (isTcp(kind)) return kind.split(' ')[1] ?? null;
  return kind === 'data' || kind === 'lite' ? null : isRepair(kind) || kind === SIMULCAST || kind === DELAY ? 'vp8' : kind.replace('media ', '');
}

function isRepair(kind) {
  return kind.startsWith('repair ');
}

function isRelay(kind) {
  return kind.startsWith('relay ');
}

function isTcp(kind) {
  return kind.split(' ')[0] === 'tcp';
}

/** What ours must say of a row over TCP. */
function overTcp(name, { pair }) {
  return name !== 'ours' || pair?.local?.protocol === 'tcp' ? null : `the local candidate is of ${pair?.local?.protocol}`;
}

/** What ours must say of itself as a lite agent. */
function asLite(name, { checks_sent }) {
  return name !== 'ours' || checks_sent === 0 ? null : `${checks_sent} checks sent`;
}

/** Nothing is left but what goes over TCP. */
function withoutUdp(line) {
  const description = JSON.parse(line);
  return JSON.stringify({ ...description, sdp: description.sdp.replace(/a=candidate:\S+ \d+ udp .*\r\n/gi, '') });
}

/** What ours must say of a row of relays. */
function throughRelay(name, { pair }) {
  return name !== 'ours' || pair?.local?.type === 'relay' ? null : `the local candidate is ${pair?.local?.type}`;
}

function repairOf(kind) {
  return isRepair(kind) ? kind.replace('repair ', '') : null;
}

/** libwebrtc sends no FEC where retransmission is quick, as it is here: nobody may ask for it. */
function withoutNack(line) {
  const description = JSON.parse(line);
  return JSON.stringify({ ...description, sdp: description.sdp.replace(/a=rtcp-fb:\d+ nack\r\n/g, '') });
}

/** What a side of a row of delays must have seen. */
function delayed(name, { video }, stated) {
  if (name === 'ours') return JSON.stringify(video?.playout_delay_ms ?? null) === JSON.stringify(stated) ? null : `playout delay ${JSON.stringify(video?.playout_delay_ms)}, not ${JSON.stringify(stated)}`;
  return video?.buffered_seconds * 1000 >= DELAY_MS * 0.7 ? null : `pictures waited ${video?.buffered_seconds} s`;
}

/** What ours must have been told by a sender of three qualities that says which layers it has. */
function allocated(name, { video }) {
  if (name !== 'ours') return null;
  const streams = new Set((video?.layers ?? []).map(({ stream }) => stream));
  return streams.size === 3 ? null : `layers of ${streams.size} streams were told: ${JSON.stringify(video?.layers)}`;
}

/** What a side of a row of repair must have seen. */
function repaired(by, name, { repair }) {
  if (!repair) return 'nothing said about repair';
  // Reports of arrivals repair nothing, but it is loss that they must tell of.
  if (by === 'ccfb') return name !== 'ours' || (repair.ccfb_messages_sent > 0 && repair.ccfb_messages_received > 0) ? null : `${repair.ccfb_messages_sent} reports by RFC 8888 sent, ${repair.ccfb_messages_received} received`;
  if (name === 'ours') {
    if (!(repair.fec_packets_received > 0)) return 'no redundancy arrived';
    if (!(repair.packets_recovered > 0)) return 'nothing was recovered';
    return repair.fec_bytes_sent > 0 ? null : 'no redundancy was sent';
  }
  // libwebrtc counts FlexFEC alone. Without ULPFEC two thirds of the clip's pictures miss one that they refer to,
  // without RED nearly every lost packet of sound is concealed.
  const { fec_packets_received, frames_decoded, frames_dropped, audio_lost, concealment_events } = repair;
  if (by === 'flexfec' && !(fec_packets_received > 0)) return 'no FlexFEC arrived';
  if (by === 'ulpfec' && !(frames_decoded > frames_dropped)) return `${frames_decoded} pictures decoded and ${frames_dropped} dropped`;
  if (by === 'red' && !(concealment_events * 2 < audio_lost)) return `${concealment_events} of ${audio_lost} lost packets concealed`;
  return null;
}

async function runRow(row) {
  for (const name of [row.offerer, row.answerer]) {
    if (name === 'ours') continue;
    if (network.loopbackOnly && !PEERS[name].loopback) return { ...row, state: 'NOT RUN', why: `${name} does not gather 127.0.0.1, and this machine has ${network.describe}` };
    const reason = notRunnable(name);
    if (reason) return { ...row, state: 'NOT RUN', why: reason };
  }
  const codec = codecOf(row.kind);
  const repair = repairOf(row.kind);
  const relay = isRelay(row.kind) ? row.kind.split(' ')[1] : null;
  if (relay && relayed.why) return { ...row, state: 'NOT RUN', why: relayed.why };
  if (repair && lossy.why) return { ...row, state: 'NOT RUN', why: lossy.why };
  const simulcast = row.kind === SIMULCAST;
  const delay = row.kind === DELAY;
  const { playoutDelay, allocates } = PEERS[row.offerer] ?? PEERS[row.answerer] ?? {};
  const pings = repair ? REPAIR_PINGS : options.pings;
  const make = (name, role) => side(name, role, { codec, simulcast, repair, relay, delay, tcp: isTcp(row.kind), lite: row.kind === 'lite', pings });
  const runs = [];
  let retries = 0;
  while (runs.length < options.repeat) {
    const run = await runPair(make(row.offerer, 'offer'), make(row.answerer, 'answer'), {
      pings, codec, simulcast, deadlineMs: codec ? DEADLINE_MEDIA_MS : DEADLINE_DATA_MS, ...(repair ? { rewrite: withoutNack, must: (name, result) => repaired(repair, name, result) } : {}), ...(relay ? { must: throughRelay } : {}), ...(delay ? { must: (name, result) => delayed(name, result, playoutDelay) } : {}), ...(simulcast && allocates && row.answerer === 'ours' ? { must: allocated } : {}), ...(row.kind === 'lite' ? { must: asLite } : {}), ...(isTcp(row.kind) ? { rewrite: withoutUdp, must: overTcp } : {}),
    });
    if (peersOwnRace(row, run) && retries < RACE_RETRIES_MAX * options.repeat) retries += 1;
    else runs.push(run);
  }
  const bad = runs.find((run) => !run.ok);
  if (!bad) return { ...row, state: 'pass', why: null, runs, retries };
  return { ...row, state: 'FAIL', why: bad.why, runs, retries };
}

function side(name, role, { codec, simulcast, repair, relay, delay, tcp, lite, pings }) {
  const words = [role, ...(codec ? ['--media'] : []), ...(simulcast ? ['--simulcast'] : []), '--pings', String(pings)];
  const { prefix, loopbackOnly } = repair ? lossy : relay ? relayed : network;
  if (name === 'ours') {
    const loopback = options.loopback || loopbackOnly ? ['--loopback'] : [];
    const seconds = repair ? ['--media-seconds', String(REPAIR_SECONDS), ...(['flexfec', 'ccfb'].includes(repair) ? [`--${repair}`] : [])] : [];
    const through = relay ? ['--relay-only', '--ice-server', relayed.servers[relay]] : tcp ? ['--no-udp'] : lite ? ['--ice-lite'] : [];
    if (delay) through.push('--playout-delay', String(DELAY_MS), '--media-seconds', '8');
    const env = relay ? ['env', ...relayed.env] : [];
    return { name, ours: true, command: [...prefix, ...env, options.ours, 'peer', ...words, ...seconds, ...through, ...loopback] };
  }
  const timeout = ['--timeout', String(codec ? PEER_TIMEOUT_MEDIA_S : PEER_TIMEOUT_DATA_S)];
  const video = codec ? ['--video', codec] : [];
  const by = repair ? ['--repair', repair] : delay ? ['--playout-delay'] : [];
  return { name, ours: false, command: [...prefix, ...PEERS[name].command, ...words, ...video, ...by, ...timeout] };
}

function line(result) {
  const where = `${result.offerer} > ${result.answerer} ${result.kind}`.padEnd(33);
  if (!result.runs) return `${where} ${result.state}  ${result.why}`;
  return `${where} ${result.state.padEnd(11)} ${facts(result)}${result.why ? `  ${result.why}` : ''}`;
}

/** One line of numbers from the runs that were green. */
function facts(result) {
  const good = result.runs.filter((run) => run.ok);
  const parts = [];
  if (result.runs.length > 1) parts.push(`${good.length}/${result.runs.length}`);
  if (result.retries > 0) parts.push(`${result.retries} done again after the peer's own race`);
  if (good.length === 0) return parts.join(', ');
  const middle = (values) => values.filter((value) => typeof value === 'number').sort((a, b) => a - b)[values.length >> 1] ?? '-';
  const last = good.at(-1);
  parts.push(`${(middle(good.map((run) => run.ms)) / 1000).toFixed(1)} s`);
  parts.push(`open ${middle(good.map((run) => run.offer.open_ms))} ms`, `echo ${middle(good.map((run) => run.offer.p50_ms))} ms`);
  const [dtls, srtp] = ['dtls', 'srtp'].map((key) => last.offer[key] ?? last.answer[key]);
  if (dtls) parts.push(`DTLS ${dtls}`);
  if (codecOf(result.kind)) {
    if (srtp) parts.push(srtp);
    const codec = last.offer.video?.codec ?? last.answer.video?.codec;
    if (codec) parts.push(codec);
    const streams = Object.entries(last.answer.video?.streams ?? {}).map(([rid, frames]) => `${rid} ${frames}`);
    if (streams.length > 0) parts.push(`streams ${streams.join(', ')}`);
    parts.push(`video ${videoFrames(last.offer)}/${videoFrames(last.answer)}`, `audio ${audioCount(last.offer)}/${audioCount(last.answer)}`);
    if (isRepair(result.kind)) parts.push(repairFacts(result.offerer === 'ours' ? [last.offer, last.answer] : [last.answer, last.offer]));
  }
  return parts.join(', ');
}

function repairFacts([{ repair: ours }, { repair: theirs }]) {
  if (ours.ccfb_messages_received > 0) return `${ours.ccfb_messages_sent} reports by RFC 8888 sent, ${ours.ccfb_messages_received} received`;
  return `ours recovered ${ours.packets_recovered} by ${ours.fec_packets_received}, theirs: ${theirs.fec_packets_received} FEC packets, ${theirs.frames_decoded} decoded and ${theirs.frames_dropped} dropped, ${theirs.concealment_events} of ${theirs.audio_lost} sounds concealed`;
}

function markdown(results) {
  const cell = (text) => String(text ?? '').replaceAll('|', '\\|').replaceAll('\n', ' ');
  const lines = ['| offers | answers | kind | result | seen (video frames and audio packets: offerer/answerer) |', '|---|---|---|---|---|'];
  for (const result of results) {
    const seen = [result.runs ? facts(result) : '', result.why].filter(Boolean).join('; ');
    lines.push(`| ${cell(result.offerer)} | ${cell(result.answerer)} | ${result.kind} | ${result.state} | ${cell(seen)} |`);
  }
  return `${lines.join('\n')}\n`;
}

function parse(words) {
  const options = {
    ours: null, peers: Object.keys(PEERS).filter((name) => !PEERS[name].answersOnly), pairs: [], kinds: null, video: null, pings: null, repeat: 1, quick: false, loopback: false, json: null, table: null, verbose: false,
  };
  const usage = (why) => {
    console.error(`${why}\n${USAGE}`);
    process.exit(2);
  };
  const next = (name) => words.shift() ?? usage(`${name} needs a value`);
  const number = (name) => {
    const value = Number(next(name));
    return Number.isInteger(value) && value > 0 ? value : usage(`${name} needs a whole number above zero`);
  };
  const peer = (name) => PEERS[name] || name === 'ours' ? name : usage(`no peer ${name}`);
  words = [...words];
  let named = false;
  let [data, media, repair, relay, tcp, lite] = [true, false, false, false, false, false];
  while (words.length > 0) {
    const word = words.shift();
    if (word === '--ours') options.ours = resolve(next(word));
    else if (word === '--pair') options.pairs.push([peer(next(word)), peer(next(word))]);
    else if (word === '--peers') { options.peers = next(word).split(',').map((name) => name === 'ours' ? usage('ours is given by --ours') : peer(name)); named = true; }
    else if (word === '--quick') options.quick = true;
    else if (word === '--media') media = true;
    else if (word === '--media-only') [data, media] = [false, true];
    else if (word === '--repair') repair = true;
    else if (word === '--repair-only') [data, repair] = [false, true];
    else if (word === '--relay') relay = true;
    else if (word === '--relay-only') [data, relay] = [false, true];
    else if (word === '--tcp') tcp = true;
    else if (word === '--tcp-only') [data, tcp] = [false, true];
    else if (word === '--lite') lite = true;
    else if (word === '--lite-only') [data, lite] = [false, true];
    else if (word === '--video') { options.video = next(word); if (!CODECS.includes(options.video)) usage(`--video is one of ${CODECS.join(', ')}`); }
    else if (word === '--pings') options.pings = number(word);
    else if (word === '--repeat') options.repeat = number(word);
    else if (word === '--loopback') options.loopback = true;
    else if (word === '--json') options.json = next(word);
    else if (word === '--table') options.table = next(word);
    else if (word === '--verbose') options.verbose = true;
    else if (word === '--help') { console.log(USAGE); process.exit(0); }
    else usage(`unknown argument ${word}`);
  }
  if (options.quick && !named) options.peers = options.peers.filter((name) => PEERS[name].quick);
  const codecs = options.video ? [options.video] : options.quick ? ['vp8'] : CODECS;
  options.kinds = [
    ...(data ? ['data'] : []),
    ...(media ? codecs.map((codec) => `media ${codec}`) : []),
    ...(media && !options.video ? [SIMULCAST, ...(options.quick ? [] : [DELAY])] : []),
    ...(relay ? ['udp', 'tcp', 'tls'].flatMap((by) => [`relay ${by}`, `relay ${by} vp8`]) : []),
    ...(tcp ? ['tcp', 'tcp vp8'] : []),
    ...(lite ? ['lite'] : []),
    ...(repair ? REPAIRS.map((by) => `repair ${by}`) : []),
  ];
  options.pings ??= options.quick ? 50 : 200;
  if (options.ours === null && (options.pairs.length === 0 || options.pairs.flat().includes('ours'))) usage('--ours or --pair is needed');
  if (options.ours !== null) {
    try {
      accessSync(options.ours, constants.X_OK);
    } catch {
      usage(`${options.ours} is not a program`);
    }
  }
  return options;
}
