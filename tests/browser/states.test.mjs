// The call in each of its states, for those who use a program in place of eyes: WCAG 2.2 A and AA by axe, light and dark.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { PROBE_EACH, SMALL, assertQuiet, roomFor, scratch, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";
import { startWay } from "./way.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const SECRET = "0123456789abcdef0123456789abcdef";

let server;
let browser;
before(async () => {
  if (skip) return;
  server = await startServer(`--topology sfu --lobby --token-key main:HS256:${SECRET}`);
  browser = await launch("chromium");
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** What is shared is a canvas: which screen it is makes no difference to who looks at the page. */
const SCREEN = `
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
    const context = canvas.getContext("2d");
    let turn = 0;
    setInterval(() => {
      context.fillStyle = \`hsl(\${turn++ * 5} 60% 80%)\`;
      context.fillRect(0, 0, 640, 360);
    }, 200);
    return canvas.captureStream(5);
  };`;

const tokenFor = (room, grants) =>
  new SignJWT({ video: { room, roomJoin: true, ...grants } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setExpirationTime("1h").sign(new TextEncoder().encode(SECRET));

/** Opens the page with a token, and asks to join. */
async function knock(t, base, room, name, grants, size = { width: 1000, height: 700 }) {
  const page = await browser.newPage({ ...size, reducedMotion: true, init: PROBE_EACH + SMALL + SCREEN });
  t.after(() => page.close());
  await page.goto(`${base}/${room}?access_token=${await tokenFor(room, grants)}`);
  await page.type("#your-name", name);
  await page.until("devices in the lobby", () => document.querySelector(".preview video")?.hidden === false);
  await page.click("#join");
  return page;
}

/** In light and in dark: nothing that axe finds, and nothing over the side. */
async function assertState(page, where) {
  for (const colorScheme of ["light", "dark"]) {
    await page.page.emulateMedia({ colorScheme });
    await assertAccessible(page, `${where}, ${colorScheme}`);
    if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/state-${where.replace(/\W+/g, "-")}-${colorScheme}.png`);
  }
  await assertFits(page, where);
}

test("each state of a call passes axe in light and dark", { skip, timeout: 300_000 }, async (t) => {
  const way = await startWay(server.url);
  t.after(() => way.close());
  const room = roomFor("states");
  const host = await knock(t, way.url, room, "Host", { roomAdmin: true });
  await host.visible("call-view .stage");
  const ada = await knock(t, server.url, room, "Ada", {}, { width: 640, height: 480 });
  await host.until("Ada waits", () => document.querySelectorAll("order-bar li").length === 1);
  await assertState(host, "somebody waits");
  await assertState(ada, "waiting to be let in");
  await host.click('[aria-label="Admit Ada"]');
  await ada.visible("call-view .stage");
  await seesPicturesOf(host, 1);
  await assertState(host, "two");

  await ada.press("h");
  await host.until("a hand", () => !document.querySelector(".tile.person .tile-hand").hidden);
  await host.press("p");
  await host.visible("#people-list");
  await assertState(host, "people, with a hand raised");
  await host.click('#people-list [aria-label="Write to Ada only"]');
  await host.page.keyboard.type("Only for you");
  await host.press("Enter");
  await assertState(host, "a message to one");
  await ada.until("a note of the message", () => document.querySelector("button.toast") !== null);
  await assertState(ada, "a note of a message");
  const { path } = await scratch(t).file("notes.bin", 100_000);
  await ada.setFiles("#file-input", [path]);
  await host.until("a file is offered", () => document.querySelector("transfer-card") !== null);
  await assertState(host, "a file that is offered");
  await assertState(ada, "a file that waits");
  await writeChat(ada, "See https://example.org");
  await host.press("Escape");

  await host.press("r");
  await host.visible("#reaction-bar");
  await assertState(host, "reactions");
  await host.press("Escape");
  await host.press("i");
  await host.until("statistics", () => /fps/.test(document.querySelector(".tile.person .tile-statistics").innerText));
  await assertState(host, "statistics");
  await host.press("i");
  await host.click(".topbar .lock");
  await host.until("locked", () => document.querySelector(".topbar .lock").getAttribute("aria-pressed") === "true");
  await host.click('[data-action="more"]');
  await host.visible("#more-menu");
  await assertState(host, "locked, with the menu");
  await host.page.click(".menu-item:has-text('Settings')");
  await host.visible("dialog[open]");
  await assertState(host, "settings");
  await host.press("Escape");
  await host.press("m");
  await host.press("v");
  await host.until("both off", () => document.querySelectorAll("call-view .round.off").length === 2);
  await assertState(host, "microphone and camera off");
  await ada.press("Escape");
  await ada.press("v");
  await host.until("no picture of Ada's", () => !document.querySelector(".tile.person .avatar").hidden);
  await assertState(host, "nobody has a picture");
  await ada.press("v");
  await host.press("v");
  assertQuiet(host, ada);

  way.takeAway(true);
  await host.until("words about the lost connection", () => /connection to the server is lost/.test(document.querySelector(".banner").innerText));
  await host.until("words over the picture", () => !document.querySelector(".tile.person .tile-status").hidden, undefined, 45_000);
  await assertState(host, "a lost connection");
  await host.until("that there is none", () => /No connection/.test(document.querySelector(".tile.person .tile-status").textContent), undefined, 60_000);
  await assertState(host, "no connection");
  way.takeAway(false);
  await host.until("no words any more", () => document.querySelector(".banner").hidden && document.querySelector(".tile.person .tile-status").hidden, undefined, 60_000);
  await ada.click(".round.leave");
  await ada.visible("left-view .button.primary");
  await assertState(ada, "left");
});

test("each layout passes axe in light and dark, with screens and without", { skip, timeout: 300_000 }, async (t) => {
  const room = roomFor("layouts");
  const host = await knock(t, server.url, room, "Host", { roomAdmin: true });
  await host.visible("call-view .stage");
  const others = [];
  for (const name of ["Ada", "Grace"]) {
    const page = await knock(t, server.url, room, name, {}, { width: 400, height: 320 });
    await host.click(`[aria-label="Admit ${name}"]`);
    await page.visible("call-view .stage");
    others.push(page);
  }
  await seesPicturesOf(host, 2);
  const layouts = async (where) => {
    const seen = [];
    for (let presses = 0; presses < 4; presses += 1) {
      await host.press("g");
      const layout = await host.evaluate(() => document.querySelector("#more-menu").textContent.match(/Layout: (Automatic|Grid|Speaker|Sidebar)/)[1]);
      seen.push(layout);
      await assertState(host, `${layout} ${where}`);
    }
    assert.deepEqual(seen, ["Grid", "Speaker", "Sidebar", "Automatic"]);
  };
  await layouts("without a screen");
  await others[0].click('[data-action="screen"]');
  await host.until("a screen", () => document.querySelector(".tile.screen video")?.videoWidth > 0);
  await assertState(others[0], "sharing on a small page");
  await host.click('[data-action="screen"]');
  await host.until("words of sharing", () => /You are sharing your screen/.test(document.querySelector(".banner").innerText));
  await layouts("with screens");
  await host.page.focus('[aria-label="Pin Grace"]');
  await host.press("Enter");
  await host.until("Grace pinned", () => document.querySelector('[aria-label="Unpin Grace"]') !== null);
  await assertState(host, "pinned beside screens");
  assertQuiet(host, ...others);
});
