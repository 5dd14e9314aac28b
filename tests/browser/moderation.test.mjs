// The meeting page where somebody keeps order: who waits, is let in, muted, removed; a room that is locked.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { launch } from "./driver.mjs";
import { PROBE_EACH, SMALL, decodedFrames, hears, roomFor, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server takes no tokens";
const SECRET = "0123456789abcdef0123456789abcdef";

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer(`--topology sfu --lobby --token-key main:HS256:${SECRET}`);
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  server?.close();
});

const tokenFor = (room, grants = {}) =>
  new SignJWT({ video: { room, roomJoin: true, ...grants } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setExpirationTime("1h").sign(new TextEncoder().encode(SECRET));

/** Opens the page with a token, and asks to join. */
async function knock(t, room, name, grants, browser = chromium) {
  const page = await browser.newPage({ width: 1000, height: 700, init: PROBE_EACH + SMALL });
  t.after(() => page.close());
  await page.goto(`${server.url}/${room}?access_token=${await tokenFor(room, grants)}`);
  await page.type("#your-name", name);
  await page.until("devices in the lobby", () => document.querySelector(".preview video")?.hidden === false);
  await page.click("#join");
  return page;
}

const shot = (page, name) => process.env.SHOTS && page.screenshot(`${process.env.SHOTS}/moderation-${name}.png`);

test("a moderator lets in, mutes, locks and removes", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("order");
  const host = await knock(t, room, "Host", { roomAdmin: true });
  await host.visible("call-view .stage");
  const ada = await knock(t, room, "Ada");
  await ada.until("waits", () => document.querySelector("#join")?.textContent.includes("Waiting"));
  const eve = await knock(t, room, "Eve");
  await host.until("two wait", () => document.querySelectorAll("order-bar li").length === 2);
  await shot(host, "waiting");
  await shot(ada, "lobby");
  await host.click('[aria-label="Deny Eve"]');
  await eve.until("was denied", () => document.querySelector(".problem strong")?.textContent === "You were not let in");
  await host.click('[aria-label="Admit Ada"]');
  await ada.visible("call-view .stage");
  await seesPicturesOf(host, 1);
  await hears(host, 1);
  assert.equal(await ada.evaluate(() => document.querySelectorAll(".tile-order:not([hidden])").length), 0, "no powers for others");

  await host.click('[aria-label="Mute Ada"]');
  await ada.until("is muted", () => document.querySelector("call-view .round.off")?.getAttribute("aria-label") === "Turn on microphone");
  await host.until("shows it", () => document.querySelector('.tile.person[aria-label*="microphone off"]') !== null);
  await shot(host, "muted");
  await ada.click('[aria-label="Turn on microphone"]');
  await host.until("Ada speaks again", () => document.querySelector('.tile.person:not([aria-label*="microphone off"])') !== null);

  await host.click(".topbar .lock");
  await host.until("locked", () => document.querySelector(".topbar .lock").getAttribute("aria-pressed") === "true");
  const late = await knock(t, room, "Late");
  await late.until("is told", () => document.querySelector(".problem strong")?.textContent === "This room is locked");
  await host.click('[aria-label="Remove Ada"]');
  await ada.until("is out", () => document.querySelector("left-view h1")?.textContent === "You were removed from the room");
  await host.until("one tile less", () => document.querySelectorAll(".tile.person").length === 0);
});

test("in a room of four with both browsers it is the same for all", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("four");
  const host = await knock(t, room, "Host", { roomAdmin: true });
  await host.visible("call-view .stage");
  /** @type {Record<string, import("./driver.mjs").Page>} */ const others = {};
  for (const [name, browser] of [["Ada", firefox], ["Grace", chromium], ["Joan", firefox]]) {
    others[name] = await knock(t, room, name, {}, browser);
    await others[name].until("waits", () => document.querySelector("#join")?.textContent.includes("Waiting"));
    await host.click(`[aria-label="Admit ${name}"]`);
    await others[name].visible("call-view .stage");
  }
  const all = [host, ...Object.values(others)];
  for (const page of all) await Promise.all([seesPicturesOf(page, 3), hears(page, 3)]);

  const silent = (page, name, is) => page.until(`${name} ${is ? "silent" : "not silent"}`, ({ name, is }) => document.querySelector(`.tile.person[aria-label^="${name}"]`).getAttribute("aria-label").includes("microphone off") === is, { name, is });
  for (const name of ["Ada", "Grace"]) {
    await host.click(`[aria-label="Mute ${name}"]`);
    await others[name].until("is muted", () => document.querySelector("call-view .round.off")?.getAttribute("aria-label") === "Turn on microphone");
    for (const page of all.filter((one) => one !== others[name])) await silent(page, name, true);
    await others[name].click('[aria-label="Turn on microphone"]');
    for (const page of all.filter((one) => one !== others[name])) await silent(page, name, false);
  }

  await host.click('[aria-label="Remove Joan"]');
  await others.Joan.until("is out", () => document.querySelector("left-view h1")?.textContent === "You were removed from the room");
  for (const page of [host, others.Ada, others.Grace]) {
    await page.until("two others", () => document.querySelectorAll(".tile.person").length === 2);
    await seesPicturesOf(page, 2);
  }
  await host.click('[aria-label="Remove Ada"]');
  await others.Ada.until("is out", () => document.querySelector("left-view h1")?.textContent === "You were removed from the room");
  const [pictures] = await decodedFrames(others.Grace);
  await seesPicturesOf(others.Grace, 1, pictures + 10);
});

test("who may not publish looks on, and is told why", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("looks-on");
  const host = await knock(t, room, "Host", { roomAdmin: true });
  await host.visible("call-view .stage");
  const guest = await knock(t, room, "Guest", { canPublish: false, roomAdmin: true });
  await guest.visible("call-view .stage");
  await seesPicturesOf(guest, 1);
  const sends = await guest.evaluate(async () => {
    const all = [...(await document.querySelector("call-view").room.link.connection.getStats()).values()];
    return all.filter(({ type }) => type === "outbound-rtp").reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  });
  assert.equal(sends, 0);
  assert.equal(await host.evaluate(() => [...document.querySelector("call-view").room.peers.values()][0].publications.length), 0);
});

test("without a token the page says that an invitation is needed", { skip, timeout: 60_000 }, async (t) => {
  const page = await chromium.newPage({ width: 800, height: 600, init: SMALL });
  t.after(() => page.close());
  await page.goto(`${server.url}/${roomFor("uninvited")}`);
  await page.type("#your-name", "Nobody");
  await page.click("#join");
  await page.until("is told", () => document.querySelector(".problem strong")?.textContent === "This room needs an invitation");
});
