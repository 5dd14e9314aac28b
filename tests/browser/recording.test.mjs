// `twocan join URL --save` of a call between both browsers, and `--send` of what it recorded.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, hears, joinRoom, roomFor, seesPicturesOf } from "./meeting.mjs";
import { BINARY, start, withoutBinary } from "./native.mjs";
import { startServer } from "./server.mjs";

const skip = withoutBinary;
const PLAYER = spawnSync("ffprobe", ["-version"]).status === 0;
/** What is recorded of each: about four seconds. */
const FRAMES = 40;
const PACKETS = 200;
/** A recording is at least so long, in seconds: Opus has 50 packets in each, the pictures come no faster than 10. */
const SECONDS_MIN = 1.5;

let server;
let folder;
const browsers = {};
before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), "twocan-recorded-"));
  server = await startServer();
  browsers.chromium = await launch("chromium");
  browsers.firefox = await launch("firefox");
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Frames and their times in ticks of an IVF file. */
function readIvf(path) {
  const bytes = readFileSync(path);
  assert.equal(bytes.toString("latin1", 0, 4), "DKIF");
  const times = [];
  let at = bytes.readUInt16LE(6);
  while (at < bytes.length) {
    times.push(Number(bytes.readBigUInt64LE(at + 4)));
    at += 12 + bytes.readUInt32LE(at);
  }
  assert.equal(at, bytes.length, "the last frame is whole");
  return { times, rate: bytes.readUInt32LE(16) / bytes.readUInt32LE(20), codec: bytes.toString("latin1", 8, 12), counted: bytes.readUInt32LE(24) };
}

/** Waits until so much was sent to the participant of that name. */
function hasSentTo(page, name, wanted) {
  return page.until(`${wanted.frames} frames and ${wanted.packets} packets of sound for ${name}`, async ({ name: called, frames, packets }) => {
    const peer = [...document.querySelector("call-view").room.peers.values()].find((one) => one.name === called);
    const sent = { audio: 0, video: 0 };
    for (const stats of (await peer?.connection.getStats())?.values() ?? []) {
      if (stats.type === "outbound-rtp") sent[stats.kind] += (stats.kind === "audio" ? stats.packetsSent : stats.framesEncoded) ?? 0;
    }
    return sent.audio >= packets && sent.video >= frames;
  }, { name, ...wanted });
}

/** What was recorded, by participant. @type {Record<string, {ivf: string, ogg: string}>} */
const recorded = {};

test("both browsers are recorded", { skip }, async (t) => {
  const room = roomFor("recorded");
  const ada = await browsers.chromium.newPage({ init: PROBE + SMALL, width: 640, height: 480 });
  const eve = await browsers.firefox.newPage({ init: PROBE + SMALL, width: 640, height: 480 });
  t.after(() => Promise.all([ada.close(), eve.close()]));
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(eve, server.url, room, "Eve / ../Ünï");
  const recorder = start(t, BINARY, ["join", `${server.url}/${room}`, "--save", join(folder, "new")]);
  for (const page of [ada, eve]) await hasSentTo(page, "Recorder", { frames: FRAMES, packets: PACKETS });
  await eve.click(".round.leave"); // one leaves before, one is still there at the end
  await recorder.says(/^recorded .*Eve.*ogg/);
  await recorder.says(/^recorded .*Eve.*ivf/);
  assert.equal(await recorder.stop(), 0);
  assert.deepEqual(recorder.err, []);

  for (const [name, prefix] of [["Ada", "Ada-"], ["Eve", "Eve"]]) {
    const files = readdirSync(join(folder, "new")).filter((file) => file.startsWith(prefix));
    assert.equal(files.length, 2, files.join(" "));
    recorded[name] = { ivf: join(folder, "new", files.find((file) => file.endsWith(".ivf"))), ogg: join(folder, "new", files.find((file) => file.endsWith(".ogg"))) };
    const { times, rate, codec, counted } = readIvf(recorded[name].ivf);
    assert.equal(codec, "VP80");
    assert.equal(counted, times.length);
    const told = recorder.out.map((line) => /^recorded (.*) \((\d+) frames\)$/.exec(line)).find((found) => found?.[1] === recorded[name].ivf);
    assert.equal(Number(told?.[2]), times.length);
    assert.ok(times.length > FRAMES / 2, `${times.length} frames`);
    assert.ok(times.every((time, i) => i === 0 || time > times[i - 1]), "times grow");
    const seconds = (times.at(-1) - times[0]) / rate;
    assert.ok(seconds > SECONDS_MIN && seconds < 60, `${seconds} s`);
  }
  assertQuiet(ada, eve);
});

test("what was recorded plays elsewhere, whole", { skip: skip || (PLAYER ? false : "ffprobe is not installed (Debian: ffmpeg)") }, () => {
  for (const [name, { ivf, ogg }] of Object.entries(recorded)) {
    for (const path of [ivf, ogg]) {
      const decoded = spawnSync("ffmpeg", ["-v", "error", "-i", path, "-vsync", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"], { encoding: "utf8" });
      assert.equal(decoded.status, 0);
      assert.equal(decoded.stderr, "", `${name}: ${path}`);
    }
    const probe = (path, entries) => JSON.parse(spawnSync("ffprobe", ["-v", "error", "-count_frames", "-show_entries", entries, "-of", "json", path], { encoding: "utf8" }).stdout);
    const [picture] = probe(ivf, "stream=codec_name,width,height,nb_read_frames").streams;
    assert.equal(picture.codec_name, "vp8");
    assert.ok(picture.width >= 160 && picture.height >= 90, JSON.stringify(picture));
    assert.equal(Number(picture.nb_read_frames), readIvf(ivf).times.length, "every frame can be decoded");
    const { streams: [sound], format } = probe(ogg, "stream=codec_name,nb_read_frames:format=duration");
    assert.equal(sound.codec_name, "opus");
    assert.ok(Number(format.duration) > SECONDS_MIN, `${format.duration} s of sound`);
    assert.ok(Math.abs(Number(sound.nb_read_frames) * 0.02 - Number(format.duration)) < 0.2, `${sound.nb_read_frames} packets in ${format.duration} s`);
  }
});

for (const [browser, of] of [["chromium", "Eve"], ["firefox", "Ada"]]) {
  test(`what was recorded of ${of} is seen and heard in ${browser}, to its end`, { skip }, async (t) => {
    const { ivf, ogg } = recorded[of];
    const page = await browsers[browser].newPage({ init: PROBE });
    t.after(() => page.close());
    const room = roomFor("played");
    await joinRoom(page, server.url, room, "Watcher");
    const player = start(t, BINARY, ["join", `${server.url}/${room}`, "--send", ivf, ogg]);
    await seesPicturesOf(page, 1);
    await hears(page, 1);
    assert.equal(await player.ended, 0, "it ends by itself");
    for (const path of [ivf, ogg]) assert.ok(player.out.some((line) => line.includes("played") && line.includes(path)), player.out.join("\n"));
    await page.until("the player gone", () => document.querySelectorAll(".tile.person").length === 0);
    assertQuiet(page);
  });
}

test("a file that is played in a loop goes on after its end, for late ones too", { skip }, async (t) => {
  const { ivf } = recorded.Ada;
  const room = roomFor("loop");
  const player = start(t, BINARY, ["join", `${server.url}/${room}`, "--loop", "--send", ivf]);
  await player.says(/^joined as /);
  const ada = await browsers.chromium.newPage({ init: PROBE + SMALL });
  const eve = await browsers.firefox.newPage({ init: PROBE + SMALL });
  t.after(() => Promise.all([ada.close(), eve.close()]));
  const once = readIvf(ivf).times.length;
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(eve, server.url, room, "Eve");
  for (const page of [ada, eve]) {
    await page.until(`more than ${once} frames of the player`, async (least) => {
      const peer = [...document.querySelector("call-view").room.peers.values()].find(({ name }) => name === "Player");
      const stats = peer ? [...(await peer.connection.getStats()).values()] : [];
      return stats.some(({ type, kind, framesDecoded }) => type === "inbound-rtp" && kind === "video" && framesDecoded > least * 1.5);
    }, once, 60_000);
  }
  assert.equal(await player.stop(), 0);
  assertQuiet(ada, eve);
});

test("what cannot be played is said before the room is joined", { skip }, async (t) => {
  const { ivf, ogg } = recorded.Ada;
  const url = `${server.url}/${roomFor("unplayable")}`;
  for (const [files, words] of [
    [[ivf, ivf], /another file of video/],
    [["/nowhere/film.ivf"], /\/nowhere\/film\.ivf.*No such file/],
    [[ogg, new URL(import.meta.url).pathname], /recording\.test\.mjs/],
  ]) {
    const player = start(t, BINARY, ["join", url, "--send", ...files]);
    assert.notEqual(await player.ended, 0);
    assert.match(player.err.join("\n"), words);
    assert.deepEqual(player.out, []);
  }
});
