// One's own microphone and camera in a call: who speaks while muted is told, Space held is for speaking, and what the
// browser does to sound and picture is as it was chosen.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { PROBE, assertQuiet, hears, joinRoom, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await launch("chromium");
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** A microphone that says what the test says: nothing, until `speaks(true)`. */
const VOICE = `{
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let gain;
  globalThis.speaks = (on) => { gain.gain.value = on ? 0.5 : 0; };
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask({ ...wanted, ...(wanted.video ? { video: { width: 320, height: 180, frameRate: 10 } } : {}) });
    for (const track of stream.getAudioTracks()) {
      stream.removeTrack(track);
      const context = new AudioContext();
      const voice = new OscillatorNode(context, { frequency: 300 });
      gain = new GainNode(context, { gain: gain?.gain.value ?? 0 });
      const out = new MediaStreamAudioDestinationNode(context);
      voice.connect(gain).connect(out);
      voice.start();
      stream.addTrack(out.stream.getAudioTracks()[0]);
    }
    return stream;
  };
}`;

const person = async (t, room, name, init) => {
  const page = await browser.newPage({ init: PROBE + init, width: 1000, height: 700, reducedMotion: true });
  t.after(() => page.close());
  await joinRoom(page, server.url, room, name);
  return page;
};

/** How loud what came from the other is, over the time until the next call. */
const energy = (page) => page.evaluate(async () => (await inbound("audio", "totalAudioEnergy"))[0]);
const isOn = (page) => page.evaluate(() => document.querySelector('call-view .round[aria-label="Turn off microphone"]') !== null);
const hint = () => [...document.querySelectorAll(".toast")].some((toast) => toast.textContent.startsWith("You are muted."));

test("who speaks while muted is told so, is not heard, and is heard while Space is held", { timeout: 180_000 }, async (t) => {
  const room = roomFor("muted");
  const ada = await person(t, room, "Ada", VOICE);
  const grace = await person(t, room, "Grace", VOICE);
  await hears(grace, 1);
  await ada.evaluate(() => globalThis.speaks(true));
  const loud = await energy(grace);
  await grace.until("hears Ada", async (before) => (await inbound("audio", "totalAudioEnergy"))[0] > before + 0.01, loud);
  assert.equal(await ada.evaluate(hint), false, "who is heard is not told anything");

  await ada.press("m");
  await grace.until("shows it", () => document.querySelector('.tile.person[aria-label*="microphone off"]') !== null);
  await ada.until("is told", hint);
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/muted-hint.png`);
  await assertAccessible(ada, "the hint");
  // What listens in the page goes to nobody.
  const packets = () => grace.evaluate(async () => (await inbound("audio", "packetsReceived"))[0]);
  const [quiet, sent] = [await energy(grace), await packets()];
  await grace.until("packets of silence", async (before) => (await inbound("audio", "packetsReceived"))[0] > before + 50, sent);
  assert.ok((await energy(grace)) - quiet < 1e-4, "nothing is heard of who is muted");

  // The button that was pressed last has the focus, and Space is for speaking all the same.
  await ada.click('[data-action="chat"]');
  await ada.press("Escape");
  await ada.page.keyboard.down("Space");
  await ada.until("is on", () => document.querySelector('call-view .round[aria-label="Turn off microphone"]') !== null);
  await grace.until("hears Ada", async (before) => (await inbound("audio", "totalAudioEnergy"))[0] > before + 0.01, quiet);
  await ada.page.keyboard.up("Space");
  await ada.until("is off", () => document.querySelector('call-view .round[aria-label="Turn on microphone"]') !== null);
  assert.equal(await ada.evaluate(() => document.querySelector("#chat-panel").hidden), true, "Space pressed no button");

  // In a field it is a letter, and on a button that was reached by Tab it presses that.
  await ada.press("c");
  await ada.page.keyboard.down("Space");
  assert.equal(await isOn(ada), false);
  await ada.page.keyboard.up("Space");
  assert.equal(await ada.evaluate(() => document.querySelector("#chat-panel textarea").value), " ");
  await ada.press("Tab");
  await ada.page.focus('[data-action="microphone"]');
  await ada.page.keyboard.press("Space");
  await ada.until("is on", () => document.querySelector('call-view .round[aria-label="Turn off microphone"]') !== null);
  assertQuiet(ada, grace);
});

test("the settings change the sound that is sent, and blur a background where that can be", { timeout: 120_000 }, async (t) => {
  const blurs = `{
    const { getCapabilities, applyConstraints } = MediaStreamTrack.prototype;
    globalThis.blurred = [];
    MediaStreamTrack.prototype.getCapabilities = function () {
      return { ...getCapabilities.call(this), ...(this.kind === "video" ? { backgroundBlur: [false, true] } : {}) };
    };
    MediaStreamTrack.prototype.applyConstraints = function (wanted) {
      if (this.kind === "video") globalThis.blurred.push(wanted.backgroundBlur);
      return applyConstraints.call(this, wanted);
    };
  }`;
  const room = roomFor("settings");
  const ada = await person(t, room, "Ada", blurs);
  const grace = await person(t, room, "Grace", "");
  const sent = () =>
    ada.evaluate(() => {
      const [peer] = document.querySelector("call-view").room.peers.values();
      const { noiseSuppression, echoCancellation } = peer.sender("microphone").track.getSettings();
      return { noiseSuppression, echoCancellation };
    });
  await hears(grace, 1);
  assert.deepEqual(await sent(), { noiseSuppression: true, echoCancellation: true });
  await ada.click('[data-action="more"]');
  await ada.page.click(".menu-item:has-text('Settings')");
  await ada.click("#sound-noiseSuppression");
  await ada.until("sent without", () => [...document.querySelector("call-view").room.peers.values()][0].sender("microphone").track.getSettings().noiseSuppression === false);
  assert.deepEqual(await sent(), { noiseSuppression: false, echoCancellation: true });
  await ada.click("#background-blur");
  await ada.until("blurred", () => globalThis.blurred.at(-1) === true);
  await assertAccessible(ada, "settings");
  await assertFits(ada, "settings");
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/settings.png`);
  const before = await grace.evaluate(() => globalThis.audioPackets());
  await grace.until("sound goes on", async (before) => (await globalThis.audioPackets())[0] > before[0] + 30, before);
  // It is remembered, also where nothing can be blurred.
  assert.equal(await ada.evaluate(() => JSON.parse(localStorage.twocan).noiseSuppression), false);
  await grace.click('[data-action="more"]');
  await grace.page.click(".menu-item:has-text('Settings')");
  await grace.visible("#sound-noiseSuppression");
  assert.equal(await grace.evaluate(() => document.querySelector("#background-blur")), null);
  assertQuiet(ada, grace);
});
