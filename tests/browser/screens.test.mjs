// Screens that are shared in a forwarded room: two at once, with their sound, ended by who shares them and by the browser.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, joinRoom, roomFor, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const SHARED_TITLE = "Slides to share";

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  // What is shared is another tab, chosen by its title.
  [chromium, firefox] = await Promise.all([launch("chromium", { shareTitle: SHARED_TITLE }), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  server?.close();
});

/** Names the screens that are shown, with the pictures decoded of each, and how loud what comes with them was so far. */
const SCREENS = `${PROBE_EACH}${SMALL}
globalThis.screens = async () => {
  const all = {};
  for (const peer of document.querySelector("call-view").room.peers.values()) {
    const of = async (source) => {
      const receiver = peer.media(source)?.receiver;
      return receiver ? [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp") : undefined;
    };
    if (!peer.publications.some(({ source }) => source === "screen")) continue;
    const [picture, sound] = [await of("screen"), await of("screen-audio")];
    all[peer.name] = { pictures: picture?.framesDecoded ?? 0, packets: sound?.packetsReceived ?? 0, energy: sound?.totalAudioEnergy ?? 0 };
  }
  return all;
};
globalThis.screenTiles = () => [...document.querySelectorAll(".tile.screen")].filter((tile) => tile.querySelector("video").videoWidth > 0).map((tile) => tile.querySelector(".tile-name").textContent).sort();
`;

/** A tab that moves and sounds. */
async function slides() {
  const page = await chromium.newPage({ width: 640, height: 400 });
  await page.goto(`${server.url}/favicon.svg`);
  await page.goto(`${server.url}/`);
  await page.evaluate((title) => {
    document.title = title;
    // A tab that does not change gives no frames.
    const box = document.body.appendChild(document.createElement("p"));
    setInterval(() => (box.textContent = String(performance.now())), 50);
    const context = new AudioContext();
    const tone = new OscillatorNode(context, { frequency: 500 });
    tone.connect(new GainNode(context, { gain: 0.5 })).connect(context.destination);
    tone.start();
  }, SHARED_TITLE);
  return page;
}

/** Waits until these screens are shown, and their pictures and sound go on. */
async function sees(page, names) {
  const tiles = names.map((name) => `${name}’s screen`).sort();
  await page.until(`the screens of ${names.join(" and ") || "nobody"}`, (tiles) => JSON.stringify(globalThis.screenTiles()) === JSON.stringify(tiles), tiles, 60_000);
  const before = await page.evaluate(() => globalThis.screens());
  assert.deepEqual(Object.keys(before).sort(), [...names].sort());
  await page.until(
    `pictures and sound of ${names.join(" and ")}`,
    async ({ before, names }) => {
      const now = await globalThis.screens();
      return names.every((name) => now[name].pictures >= before[name].pictures + 5 && now[name].packets >= before[name].packets + 20 && now[name].energy > before[name].energy + 1e-3);
    },
    { before, names },
    60_000,
  );
}

test("two share their screens at once, with sound, and end it in either way", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("screens");
  const shared = [await slides()];
  const pages = [];
  t.after(() => Promise.all([...pages, ...shared].map((page) => page.close())));
  for (const [browser, name] of [[chromium, "Ada"], [chromium, "Grace"], [firefox, "Eve"]]) {
    const page = await browser.newPage({ width: 900, height: 600, init: SCREENS });
    pages.push(page);
    await joinRoom(page, server.url, room, name);
  }
  const [ada, grace, eve] = pages;
  for (const page of pages) await seesPicturesOf(page, 2);

  await ada.click('[data-action="screen"]');
  await Promise.all([sees(grace, ["Ada"]), sees(eve, ["Ada"])]);
  await grace.click('[data-action="screen"]');
  await Promise.all([sees(eve, ["Ada", "Grace"]), sees(ada, ["Grace"]), sees(grace, ["Ada"])]);
  // Both are as large as each other, and larger than any person.
  const areas = await eve.evaluate(() =>
    Object.fromEntries(["screen", "person"].map((role) => [role, [...document.querySelectorAll(`.tile.${role}`)].map(({ clientWidth, clientHeight }) => clientWidth * clientHeight)])),
  );
  assert.equal(areas.screen.length, 2);
  assert.ok(Math.abs(areas.screen[0] - areas.screen[1]) < 0.02 * areas.screen[0], JSON.stringify(areas));
  assert.ok(Math.max(...areas.person) * 2 < Math.min(...areas.screen), JSON.stringify(areas));
  if (process.env.SHOTS) await eve.screenshot(`${process.env.SHOTS}/screens-two.png`);
  // Cameras go on beside them.
  const [before] = await eve.evaluate(() => globalThis.decodedFrames());
  await seesPicturesOf(eve, 2, before + 5);

  // Ended by who shares it: the other's goes on.
  await grace.click(".banner .button");
  await Promise.all([sees(eve, ["Ada"]), ada.until("no screen", () => globalThis.screenTiles().length === 0)]);
  await grace.until("no words of sharing", () => document.querySelector(".banner").hidden);
  await grace.press("s");
  await sees(eve, ["Ada", "Grace"]);

  // Ended by the browser, for both: what they share is closed.
  await shared.pop().close();
  for (const page of pages) await page.until("no screen any more", () => document.querySelectorAll(".tile.screen").length === 0, undefined, 60_000);
  for (const page of [ada, grace]) {
    await page.until("no words of sharing", () => document.querySelector(".banner").hidden);
    await page.until("can be shared again", () => document.querySelector('[data-action="screen"]').getAttribute("aria-pressed") !== "true");
  }
  assert.deepEqual(await eve.evaluate(() => globalThis.screens()), {});

  shared.push(await slides());
  await ada.click('[data-action="screen"]');
  await Promise.all([sees(eve, ["Ada"]), sees(grace, ["Ada"])]);

  // Who leaves takes the screen along.
  await ada.click(".round.leave");
  for (const page of [grace, eve]) await page.until("neither Ada nor a screen", () => document.querySelectorAll(".tile.screen").length === 0 && document.querySelectorAll(".tile.person").length === 1);
  await until("no tracks of Ada's", async () => (await eve.evaluate(() => document.querySelector("call-view").room.peers.size)) === 1);
  assertQuiet(...pages);
});
