// A path that is really gone for a while: the native side is stopped, or killed and started again, in the middle of a call.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, decodedFrames, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { BINARY, start, withoutBinary } from "./native.mjs";
import { startServer } from "./server.mjs";

const skip = withoutBinary;
/** From the path's return to pictures: a restart is tried every 7 seconds, by the polite side every 8, and takes a moment. */
const BACK_WITHIN_MS = 15_000;

let server;
const browsers = {};
before(async () => {
  if (skip) return;
  server = await startServer();
  browsers.chromium = await launch("chromium", { stock: true });
  browsers.firefox = await launch("firefox", { stock: true });
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
});

/** A page in a call with the native echo. */
async function pair(t, browser) {
  const url = `${server.url}/${roomFor("path")}`;
  const page = await browsers[browser].newPage({ init: PROBE + SMALL, width: 800, height: 600 });
  t.after(() => page.close());
  await joinRoom(page, server.url, new URL(url).pathname.slice(1), "Ada");
  const echo = start(t, BINARY, ["join", url, "--echo"]);
  await seesPicturesOf(page, 1);
  return { url, page, echo };
}

/** Waits for words over the other's picture. @param {RegExp} words */
async function says(page, words, within) {
  const text = await page.until(`${words} over the picture`, (wanted) => {
    const status = document.querySelector(".tile.person .tile-status");
    return !status.hidden && new RegExp(wanted).test(status.innerText) && status.innerText;
  }, words.source, within);
  if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/path-${page.browser}-${words.source.replace(/\W+/g, "-")}.png`);
  return text;
}

for (const browser of ["chromium", "firefox"]) {
  test(`${browser} says that the path is gone, and the call comes back by itself`, { skip, timeout: 180_000 }, async (t) => {
    const { page, echo } = await pair(t, browser);
    for (const [until, words] of [["unstable", /Reconnecting/], ["failed", /No connection/]]) {
      echo.child.kill("SIGSTOP"); // neither media nor consent checks are answered, while the room knows nothing of it
      await says(page, words, 45_000);
      assert.equal(await page.evaluate(() => document.querySelector("call-view").room.peers.values().next().value.state), until);
      const [frames] = await decodedFrames(page);
      echo.child.kill("SIGCONT");
      const begun = Date.now();
      await page.until("connected", () => document.querySelector(".tile.person .tile-status").hidden, null, BACK_WITHIN_MS);
      t.diagnostic(`back ${Date.now() - begun} ms after it was ${until}`);
      await seesPicturesOf(page, 1, frames + 10);
      // Firefox ends SCTP for good where ICE has failed: the connection is made anew.
      await writeChat(page, `After ${until}`);
      await readsChat(page, `After ${until}`);
      await page.press("Escape");
    }
    // Firefox writes on the console that ICE failed, which is so.
    assert.deepEqual(page.errors.filter(({ text }) => !/WebRTC: ICE failed/.test(text)), []);
  });
}

test("a native side that is killed and started again is there at once, and who it was goes when the grace is over", { skip, timeout: 120_000 }, async (t) => {
  const { url, page, echo } = await pair(t, "chromium");
  echo.child.kill("SIGKILL");
  start(t, BINARY, ["join", url, "--echo", "--name", "Again"]);
  await page.until("pictures of the new one", () => {
    const tile = [...document.querySelectorAll(".tile.person")].find((one) => one.querySelector(".tile-name").textContent === "Again");
    return tile?.querySelector("video")?.videoWidth > 0;
  });
  if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/path-killed.png`);
  await page.until("the old one gone", () => document.querySelectorAll(".tile.person").length === 1, null, 60_000);
  await writeChat(page, "Who is there?");
  await readsChat(page, "Who is there?");
  assertQuiet(page);
});
