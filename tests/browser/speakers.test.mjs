// Who speaks in a forwarded room: shown by all pages, and large where the layout has one place for it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE_EACH, assertQuiet, hears, joinRoom, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const NAMES = ["Ada", "Grace", "Eve", "Joan"];

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

/**
 * A microphone without a sound until `speaks(true)`, a small picture, and what the server says of who speaks. Firefox plays
 * no graph of sound where there is no device for it, but its own microphone for tests hums.
 */
const VOICE = `${PROBE_EACH}{
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const hums = navigator.userAgent.includes("Firefox");
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask({ ...wanted, ...(wanted.video ? { video: { width: 320, height: 180, frameRate: 10 } } : {}) });
    for (const track of stream.getAudioTracks()) {
      if (hums) {
        // Apart from the page, which mutes it.
        const { set } = Object.getOwnPropertyDescriptor(MediaStreamTrack.prototype, "enabled");
        const state = { isOn: true, speaks: false };
        const settle = () => set.call(track, state.isOn && state.speaks);
        Object.defineProperty(track, "enabled", { get: () => state.isOn, set: (on) => { state.isOn = on; settle(); } });
        settle();
        globalThis.speaks = (on) => { state.speaks = on; settle(); };
        continue;
      }
      stream.removeTrack(track);
      track.stop();
      const context = new AudioContext();
      const voice = new OscillatorNode(context, { frequency: 300 });
      const gain = new GainNode(context, { gain: 0 });
      const out = new MediaStreamAudioDestinationNode(context);
      voice.connect(gain).connect(out);
      voice.start();
      stream.addTrack(out.stream.getAudioTracks()[0]);
      globalThis.speaks = (on) => { gain.gain.value = on ? 0.5 : 0; };
    }
    return stream;
  };
}
globalThis.heard = () => {
  const { room } = document.querySelector("call-view");
  room.on("speakers", (speakers) => (globalThis.told = speakers.map(({ peer }) => peer.name)));
};`;

/** Who is shown as speaking, by name, and whose tile is larger than any other by far. */
const LOOKS = `
globalThis.speaking = () => [...document.querySelectorAll(".tile.speaking .tile-name")].map(({ textContent }) => textContent).join();
globalThis.large = () => {
  const areas = [...document.querySelectorAll(".tile")].map((tile) => [tile.querySelector(".tile-name").textContent, tile.clientWidth * tile.clientHeight]).sort((a, b) => b[1] - a[1]);
  return areas[0][1] > 2 * areas[1][1] ? areas[0][0] : null;
};`;

test("who speaks is marked by all, and is large with who has that layout", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("speakers");
  /** @type {Record<string, import("./driver.mjs").Page>} */ const pages = {};
  t.after(() => Promise.all(Object.values(pages).map((page) => page.close())));
  for (const [index, name] of NAMES.entries()) {
    const browser = index < 2 ? chromium : firefox;
    pages[name] = await browser.newPage({ width: 800, height: 600, init: VOICE + LOOKS });
    await joinRoom(pages[name], server.url, room, name);
  }
  for (const page of Object.values(pages)) {
    await hears(page, 3);
    await page.evaluate(() => globalThis.heard());
  }
  // One of each browser has one large place; Ada's is a grid, in which nobody is larger.
  const layouts = { Ada: "Grid", Grace: "Speaker", Joan: "Sidebar" };
  for (const [name, layout] of Object.entries(layouts)) {
    for (let presses = 0; presses < 4; presses += 1) {
      await pages[name].press("g");
      if (await pages[name].evaluate((layout) => document.querySelector("#more-menu").textContent.includes(`Layout: ${layout}`), layout)) break;
    }
    await pages[name].until(`the layout ${layout}`, (layout) => document.querySelector("#more-menu").textContent.includes(`Layout: ${layout}`), layout);
  }
  for (const page of Object.values(pages)) await page.until("nobody speaks", () => globalThis.speaking() === "");

  // Each after the other, and once more the first: in a browser of either kind.
  for (const speaker of ["Eve", "Ada", "Joan", "Grace", "Eve"]) {
    await pages[speaker].evaluate(() => globalThis.speaks(true));
    for (const [name, page] of Object.entries(pages)) {
      // One's own level is read from a graph of sound.
      if (name === speaker && page.browser === "firefox") continue;
      await page.until(`${speaker} alone marked as speaking`, (wanted) => globalThis.speaking() === wanted, name === speaker ? "You" : speaker);
      if (name !== speaker) await page.until(`the server's word that ${speaker} speaks`, (speaker) => globalThis.told?.[0] === speaker, speaker);
    }
    for (const name of ["Grace", "Joan"]) {
      if (name !== speaker) await pages[name].until(`${speaker} large`, (speaker) => globalThis.large() === speaker, speaker);
    }
    assert.equal(await pages.Ada.evaluate(() => globalThis.large()), null, "nobody is large in a grid");
    if (process.env.SHOTS) await pages.Grace.screenshot(`${process.env.SHOTS}/speakers-${speaker}.png`);
    // Who is large is still large when nobody speaks.
    await pages[speaker].evaluate(() => globalThis.speaks(false));
    for (const page of Object.values(pages)) await page.until("nobody speaks", () => globalThis.speaking() === "");
    const other = speaker === "Grace" ? "Joan" : "Grace";
    assert.equal(await pages[other].evaluate(() => globalThis.large()), speaker);
  }

  // Muted, the voice goes to nobody.
  await pages.Grace.press("m");
  await pages.Ada.until("Grace muted", () => [...document.querySelectorAll('.tile[aria-label*="microphone off"] .tile-name')].some(({ textContent }) => textContent === "Grace"));
  await pages.Grace.evaluate(() => globalThis.speaks(true));
  await pages.Eve.evaluate(() => globalThis.speaks(true));
  for (const name of ["Ada", "Joan"]) await pages[name].until("Eve alone", () => globalThis.speaking() === "Eve");
  await pages.Joan.until("Eve large", () => globalThis.large() === "Eve");
  assertQuiet(...Object.values(pages));
});
