// A room of four whose link carries a key, and whose media the server forwards: pictures and sound for who has the key.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, joinRoom, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";

let server;
const browsers = {};
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  [browsers.chromium, browsers.firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
});

/** What arrives of each, by name: packets, and what could be made of them. */
const READ = `${PROBE_EACH}${SMALL}
globalThis.arrived = async () => {
  const all = {};
  for (const peer of document.querySelector("call-view").room.peers.values()) {
    const of = async (source) => {
      const receiver = peer.media(source)?.receiver;
      return (receiver && [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp")) || {};
    };
    const [picture, sound] = [await of("camera"), await of("microphone")];
    all[peer.name] = { packets: picture.packetsReceived ?? 0, pictures: picture.framesDecoded ?? 0, soundPackets: sound.packetsReceived ?? 0, energy: sound.totalAudioEnergy ?? 0 };
  }
  return all;
};`;

const newKey = () => `#key=${randomBytes(32).toString("base64url")}`;

async function person(t, browser, name, link) {
  const page = await browsers[browser].newPage({ width: 640, height: 480, init: READ });
  t.after(() => page.close());
  await joinRoom(page, server.url, link, name);
  assert.equal(await page.evaluate(() => document.querySelector("call-view").room.isEncrypted), true);
  return page;
}

/** Waits until a page sees and hears these, by what could be decoded since now. */
async function reads(page, names) {
  const before = await page.evaluate(() => globalThis.arrived());
  await page.until(
    `pictures and sound of ${names.join(", ")}`,
    async ({ before, names }) => {
      const now = await globalThis.arrived();
      return names.every((name) => now[name]?.pictures >= (before[name]?.pictures ?? 0) + 10 && now[name].energy > (before[name]?.energy ?? 0));
    },
    { before, names },
    60_000,
  );
}

/** Waits until much of these has arrived, and asserts that nothing could be made of it. */
async function gets(page, names) {
  await page.until(
    `packets of ${names.join(", ")}`,
    async (names) => {
      const now = await globalThis.arrived();
      return names.every((name) => now[name]?.packets >= 100 && now[name].soundPackets >= 100);
    },
    names,
    60_000,
  );
  const now = await page.evaluate(() => globalThis.arrived());
  for (const name of names) {
    assert.equal(now[name].pictures, 0, `pictures of ${name}`);
    assert.ok(now[name].energy < 1e-3, `sound of ${name}: ${now[name].energy}`);
  }
}

test("four with the key see and hear each other by way of the server, and who has another sees and hears nothing", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("keyed");
  const link = room + newKey();
  const names = ["Ada", "Grace", "Eve", "Joan"];
  const pages = [];
  for (const [index, name] of names.entries()) pages.push(await person(t, index < 2 ? "chromium" : "firefox", name, link));
  const others = (name) => names.filter((one) => one !== name);
  for (const [index, page] of pages.entries()) await reads(page, others(names[index]));

  // The server takes whoever has the room's name; the key it never sees.
  const mallory = await person(t, "chromium", "Mallory", room + newKey());
  await gets(mallory, names);
  for (const [index, page] of pages.entries()) {
    await gets(page, ["Mallory"]);
    await reads(page, others(names[index]));
  }
  await gets(mallory, names);
  if (process.env.SHOTS) await mallory.screenshot(`${process.env.SHOTS}/keyed-mallory.png`);

  // Who comes to it with the key is read, though it came late.
  await pages[1].click(".round.leave");
  await pages[1].visible("left-view .button.primary");
  const late = await person(t, "firefox", "Katherine", link);
  await reads(late, ["Ada", "Eve", "Joan"]);
  for (const page of [pages[0], pages[2], pages[3]]) await reads(page, ["Katherine"]);
  await gets(mallory, ["Katherine"]);
  assertQuiet(pages[0], pages[2], pages[3], late);
});
