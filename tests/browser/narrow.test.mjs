// Four in a forwarded room who each send their picture in several qualities: who has little room on the way to it gets a
// smaller one, alone, and the large one again when there is room.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { SMALL, assertQuiet, joinRoom, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";
import { startWay } from "./way.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const NAMES = ["Ada", "Grace", "Eve", "Joan"];
/** Whose way becomes narrow. */
const NARROW = ["Grace"];
/** Lines of the largest picture that each sends. */
const LINES = 360;
/** What the sound of three others takes at most, with all headers. */
const SOUND_KBPS = 240;
/** In which what arrives is measured. */
const WINDOW_MS = 1_500;

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  server?.close();
});

/** How much arrives of each other's camera. */
const INIT = `${SMALL.replace("width: 320, height: 180", `width: 640, height: ${LINES}`)}
globalThis.arriving = async () => {
  const all = [];
  for (const peer of document.querySelector("call-view").room.peers.values()) {
    const receiver = peer.media("camera")?.receiver;
    const stats = receiver ? [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp") : null;
    all.push({ name: peer.name, lines: stats?.frameHeight ?? 0, frames: stats?.framesDecoded ?? 0, bytes: stats?.bytesReceived ?? 0 });
  }
  return { at: performance.now(), all };
};
/** What arrived in the last window; another begins where it ends. */
globalThis.flowing = async () => {
  const now = await globalThis.arriving();
  const before = (globalThis.before ??= now);
  if (now.at - before.at < ${WINDOW_MS}) return globalThis.rates ?? null;
  globalThis.before = now;
  globalThis.rates = now.all.map(({ name, lines, frames, bytes }) => {
    const old = before.all.find((one) => one.name === name) ?? { frames, bytes };
    return { name, lines, pictures: frames - old.frames, kbps: Math.round(((bytes - old.bytes) * 8) / (now.at - before.at)) };
  });
  return globalThis.rates;
};`;

const flowing = (page) => page.evaluate(() => globalThis.flowing());
const sum = (rates) => rates.reduce((all, { kbps }) => all + kbps, 0);
/** Three others whose pictures move, each of which fits. */
const three = (rates, fits) => rates?.length === 3 && rates.every((one) => one.pictures > 0 && fits(one));
const isLarge = ({ lines }) => lines === LINES;
const isSmall = ({ lines }) => lines > 0 && lines < LINES;

test("who has little room gets smaller pictures, the others keep theirs, and with room they are large again", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("narrow");
  const pages = [];
  const ways = [];
  t.after(() => Promise.all(pages.map((page) => page.close())).finally(() => ways.forEach((way) => way.close())));
  for (const [index, name] of NAMES.entries()) {
    const browser = index < 2 ? chromium : firefox;
    const page = await browser.newPage({ width: 900, height: 640, init: INIT });
    pages.push(page);
    if (NARROW.includes(name)) ways.push(await startWay(server.url));
    await joinRoom(page, NARROW.includes(name) ? ways.at(-1).url : server.url, room, name);
  }
  /** Waits until what arrives at a page is so, and at all others large. */
  const see = async (what, narrow, fits) => {
    let seen;
    await until(
      what,
      async () => {
        seen = await Promise.all(pages.map(flowing));
        // What the narrow one hears of its own sending comes by the same way: its picture may be any.
        return seen.every((rates, at) => three(rates, at === narrow ? fits : (own) => isLarge(own) || own.name === NAMES[narrow]));
      },
      60_000,
      () => seen.map((rates, at) => `${at === narrow ? "narrow" : "wide"}: ${JSON.stringify(rates)}`).join("\n"),
    );
    return seen;
  };
  const wide = await see("large pictures of all at all", -1);
  for (const [index, name] of NARROW.entries()) {
    const viewer = NAMES.indexOf(name);
    const { down } = ways[index];
    // Room for sound, and the half of the pictures that there are.
    const kbps = Math.round(sum(wide[viewer]) / 2) + SOUND_KBPS;
    down.conditions = { kbps };
    const began = Date.now();
    const small = await see(`small pictures at ${name} by ${kbps} kbit/s, and large ones elsewhere`, viewer, isSmall);
    t.diagnostic(`${name}: from ${sum(wide[viewer])} to ${sum(small[viewer])} kbit/s of pictures on a way of ${kbps}, after ${Date.now() - began} ms`);
    await until(`${name} has no more than the way carries`, async () => {
      const rates = await flowing(pages[viewer]);
      return three(rates, isSmall) && sum(rates) <= kbps;
    });
    down.conditions = {};
    const freed = Date.now();
    await see(`large pictures at ${name} again`, viewer, isLarge);
    t.diagnostic(`${name}: large again after ${Date.now() - freed} ms`);
  }
  assertQuiet(...pages);
});
