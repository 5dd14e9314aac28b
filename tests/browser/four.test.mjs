// Four in a mesh: two pages of one Chromium, Firefox, and the native echo where there is one.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const BINARY = process.env.TWOCAN_BIN;

let server;
let chromium;
let firefox;
before(async () => {
  server = await startServer(process.env.TWOCAN_SERVER ? "--topology mesh" : "");
  chromium = await launch("chromium");
  firefox = await launch("firefox");
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  server?.close();
});

/** The native program in the room, until the test ends. */
function startEcho(t, url) {
  const child = spawn(BINARY, ["join", url, "--echo"], { stdio: ["ignore", "pipe", "pipe"] });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => said.push(String(bytes)));
  t.after(() => {
    child.kill("SIGTERM");
    if (!t.passed && process.env.VERBOSE) console.log(said.join(""));
  });
}

test(`${BINARY ? "four" : "three (no TWOCAN_BIN, so without the native echo)"} in one room see each other`, { timeout: 240_000 }, async (t) => {
  const room = roomFor("four");
  const size = { width: 640, height: 480 };
  const ada = await chromium.newPage({ ...size, init: PROBE + SMALL });
  const grace = await chromium.newPage({ ...size, init: PROBE + SMALL });
  const eve = await firefox.newPage({ ...size, init: PROBE + SMALL });
  t.after(() => Promise.all([ada.close(), grace.close(), eve.close()]));
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(grace, server.url, room, "Grace");
  if (BINARY) startEcho(t, `${server.url}/${room}`);
  await joinRoom(eve, server.url, room, "Eve");

  const others = BINARY ? 3 : 2;
  for (const page of [ada, grace, eve]) await seesPicturesOf(page, others);
  for (const page of [ada, grace, eve]) {
    assert.equal(await page.evaluate(() => document.querySelectorAll(".tile").length), others + 1);
  }
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/four.png`);

  await writeChat(eve, "To all of you");
  await readsChat(ada, "To all of you");
  await readsChat(grace, "To all of you");
  if (BINARY) await readsChat(eve, "To all of you"); // the echo sends it back

  await grace.click(".round.leave");
  for (const page of [ada, eve]) {
    await page.until("one tile less", (wanted) => document.querySelectorAll(".tile.person").length === wanted, others - 1);
  }
  assertQuiet(ada, grace, eve);
});

test("the native echo sends picture, sound and text back", { skip: BINARY ? false : "TWOCAN_BIN is not set" }, async (t) => {
  const room = roomFor("echo");
  for (const [browser, first] of [[chromium, "page"], [chromium, "echo"], [firefox, "page"]]) {
    await t.test(`${browser.name}, ${first} there first`, async (t) => {
      const name = `${room}-${browser.name}-${first}`;
      if (first === "echo") startEcho(t, `${server.url}/${name}`);
      const page = await browser.newPage({ init: PROBE });
      t.after(() => page.close());
      await joinRoom(page, server.url, name, "Ada");
      if (first === "page") startEcho(t, `${server.url}/${name}`);
      await seesPicturesOf(page, 1);
      await writeChat(page, "Are you there?");
      await readsChat(page, "Are you there?");
      assertQuiet(page);
    });
  }
});
