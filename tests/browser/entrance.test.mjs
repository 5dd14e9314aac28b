// Before the call: the start, the lobby, what is said when devices are missing; keyboard, screen readers, phones.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { PROBE, assertQuiet, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
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

test("the start makes a room that one can say, and its link opens the lobby", async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(`${server.url}/`);
  await page.visible("start-view form");
  const name = await page.evaluate(() => document.querySelector("#room-name").value);
  assert.match(name, /^[a-z]+-[a-z]+-\d{4}$/);
  await page.click('[aria-label="Another name"]');
  assert.notEqual(await page.evaluate(() => document.querySelector("#room-name").value), name);
  await page.type("#room-name", "  Our Café / Team!  ");
  assert.match(await page.evaluate(() => document.querySelector("#room-link").textContent), /\/our-café-team$/);
  await page.press("Enter");
  await page.visible("lobby-view #join");
  assert.equal(await page.evaluate(() => decodeURIComponent(location.pathname)), "/our-café-team");
  assert.match(await page.evaluate(() => document.querySelector("h1").textContent), /our-café-team/);
  await page.page.goBack();
  await page.visible("start-view form");
  assertQuiet(page);
});

test("a room can be named by ?room= too, and a token does not stay in the address", async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(`${server.url}/?room=blue-otter&access_token=secret`);
  await page.visible("lobby-view #join");
  assert.equal(await page.evaluate(() => location.pathname + location.search), "/blue-otter");
});

test("refused permissions are explained, and one can join without", async (t) => {
  for (const name of ["chromium", "firefox"]) {
    await t.test(name, async (t) => {
      const denied = await launch(name, { permissions: "deny" });
      t.after(() => denied.close());
      const page = await denied.newPage({ init: PROBE });
      const room = roomFor("denied");
      await page.goto(`${server.url}/${room}`);
      await page.visible(".problem");
      const words = await page.evaluate(() => document.querySelector(".problem").innerText);
      assert.match(words, /Camera and microphone are blocked/);
      assert.match(words, /allow them/);
      assert.match(words, /join without/);
      if (process.env.SHOTS && name === "chromium") await page.screenshot(`${process.env.SHOTS}/denied.png`);
      await page.type("#your-name", "Ada");
      await page.click("#join");
      await page.visible("call-view .stage");

      const seeing = await browser.newPage({ init: PROBE });
      t.after(() => seeing.close());
      await joinRoom(seeing, server.url, room, "Grace");
      await seesPicturesOf(page, 1);
      await seeing.until("initials and a muted mark for who has no devices", () => {
        const tile = document.querySelector(".tile.person");
        return Boolean(tile && !tile.querySelector(".avatar").hidden && !tile.querySelector(".tile-silent").hidden);
      });
    });
  }
});

test("without HTTPS the page says why there is no camera, and one can watch and write", async (t) => {
  const plain = await launch("chromium", { alias: "plain.test" });
  t.after(() => plain.close());
  const page = await plain.newPage({ init: PROBE });
  const room = roomFor("plain");
  const url = new URL(`${server.url}/${room}`);
  url.hostname = "plain.test";
  await page.goto(url.href);
  await page.visible(".problem");
  assert.equal(await page.evaluate(() => isSecureContext), false);
  assert.match(await page.evaluate(() => document.querySelector(".problem").innerText), /not secure[^]*https:/);
  await page.click("#join");
  const seen = await browser.newPage({ init: PROBE });
  t.after(() => seen.close());
  await joinRoom(seen, server.url, room, "Grace");
  await seesPicturesOf(page, 1);
  await writeChat(page, "I can only watch");
  await readsChat(seen, "I can only watch");
});

for (const [error, words] of [
  ["NotFoundError", /No camera or microphone found/],
  ["NotReadableError", /busy/],
]) {
  test(`${error} has words of its own`, async (t) => {
    const page = await browser.newPage({ init: `navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "${error}"));` });
    t.after(() => page.close());
    await page.goto(`${server.url}/${roomFor("devices")}`);
    await page.visible(".problem");
    assert.match(await page.evaluate(() => document.querySelector(".problem").innerText), words);
  });
}

test("a microphone alone is enough", async (t) => {
  const page = await browser.newPage({
    init: `const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (wanted) => wanted.video ? Promise.reject(new DOMException("", "NotFoundError")) : ask(wanted);`,
  });
  t.after(() => page.close());
  await page.goto(`${server.url}/${roomFor("voice")}`);
  await page.until("the level of the microphone", () => Number(document.querySelector("level-meter")?.getAttribute("aria-valuenow")) > 0);
  assert.match(await page.evaluate(() => document.querySelector(".problem").innerText), /No camera found/);
  assert.equal(await page.evaluate(() => document.querySelector('[data-kind="microphone"]').getAttribute("aria-label")), "Turn off microphone");
});

test("a server that cannot be reached is said in the lobby, and one can try again", async (t) => {
  const page = await browser.newPage({
    init: `globalThis.RealSocket = WebSocket; globalThis.WebSocket = class extends RealSocket { constructor(url, protocols) { super("ws://127.0.0.1:9/", protocols); } };`,
  });
  t.after(() => page.close());
  await page.goto(`${server.url}/${roomFor("down")}`);
  await page.type("#your-name", "Ada");
  await page.click("#join");
  await page.visible(".problem");
  assert.match(await page.evaluate(() => document.querySelector(".problem").innerText), /server cannot be reached/);
  await page.evaluate(() => (globalThis.WebSocket = globalThis.RealSocket));
  await page.click("#join");
  await page.visible("call-view .stage");
});

test("everything can be done with the keyboard alone", async (t) => {
  const page = await browser.newPage({ init: PROBE });
  t.after(() => page.close());
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.id ?? "");
  await page.goto(`${server.url}/${roomFor("keys")}`);
  await page.until("focus on the name", () => document.activeElement?.id === "your-name");
  await page.page.keyboard.type("Ada");
  await page.press("Enter");
  await page.visible("call-view .stage");

  // Through the controls in the order in which they stand.
  const order = [];
  for (let i = 0; i < 16; i += 1) {
    await page.press("Tab");
    order.push(await focused());
    if (order.at(-1) === "Leave the call") break;
  }
  const gestures = server.isFixture ? [] : ["Raise your hand", "React"];
  assert.deepEqual(order.filter((label) => label && label !== "Messages").slice(-7 - gestures.length), [
    "Turn off microphone",
    "Turn off camera",
    "Share your screen",
    "Chat",
    ...gestures,
    "Send a file",
    "More",
    "Leave the call",
  ]);

  await page.press("?");
  await page.visible("dialog[open]");
  await page.press("m"); // a key behind an open dialog does nothing
  await page.press("Escape");
  await page.until("no dialog", () => !document.querySelector("dialog"));
  assert.equal(await page.evaluate(() => document.querySelector('[data-action="microphone"]').getAttribute("aria-label")), "Turn off microphone");

  await page.press("c");
  await page.until("focus in the chat", () => document.activeElement?.tagName === "TEXTAREA");
  await page.page.keyboard.type("mvs c?"); // letters are letters while one writes
  assert.equal(await page.evaluate(() => document.activeElement.value), "mvs c?");
  assert.equal(await page.evaluate(() => document.querySelector('[data-action="microphone"]').getAttribute("aria-label")), "Turn off microphone");
  await page.press("Escape");
  await page.until("the chat closed and focus back on its button", () => document.querySelector("#chat-panel").hidden && document.activeElement?.dataset.action === "chat");

  // Single keys can be switched off (WCAG 2.1.4).
  await page.press("?");
  await page.click("#shortcuts-on");
  await page.press("Escape");
  await page.until("no dialog", () => !document.querySelector("dialog"));
  await page.press("m");
  assert.equal(await page.evaluate(() => document.querySelector('[data-action="microphone"]').getAttribute("aria-label")), "Turn off microphone");
  assertQuiet(page);
});

test("screen readers are told who comes and goes, and every view passes axe in light and dark", async (t) => {
  for (const dark of [false, true]) {
    const room = roomFor("axe");
    const page = await browser.newPage({ init: PROBE, dark, reducedMotion: true });
    t.after(() => page.close());
    await page.goto(`${server.url}/`);
    await page.visible("start-view form");
    await assertAccessible(page, `start, dark: ${dark}`);
    await page.goto(`${server.url}/${room}`);
    await page.until("preview", () => !document.querySelector(".preview video")?.hidden);
    await assertAccessible(page, `lobby, dark: ${dark}`);
    await page.type("#your-name", "Ada");
    await page.click("#join");
    await page.visible(".invitation");
    await assertAccessible(page, `alone, dark: ${dark}`);

    const other = await browser.newPage({ init: PROBE });
    t.after(() => other.close());
    await joinRoom(other, server.url, room, "Grace");
    await page.until("the announcement", () => [...document.querySelectorAll("[aria-live]")].some(({ textContent }) => /Grace joined/.test(textContent)));
    await seesPicturesOf(page, 1);
    await other.press("m");
    await page.until("the tile says who is muted", () => /Grace, microphone off/.test(document.querySelector(".tile.person").getAttribute("aria-label")));
    await page.press("c");
    await page.page.keyboard.type("See https://example.org");
    await page.press("Enter");
    await assertAccessible(page, `call with chat, dark: ${dark}`);
    await page.press("Escape");
    await page.press("?");
    await page.visible("dialog[open]");
    await assertAccessible(page, `help, dark: ${dark}`);
    await page.press("Escape");
    await page.click('[data-action="more"]');
    await page.visible("#more-menu");
    await assertAccessible(page, `menu, dark: ${dark}`);
    await page.press("Escape");
    await page.click(".round.leave");
    await page.visible("left-view .button.primary");
    await assertAccessible(page, `left, dark: ${dark}`);
    assertQuiet(page);
  }
});

test("everything fits a phone of 360 pixels, upright and lying", async (t) => {
  const room = roomFor("phone");
  const page = await browser.newPage({ init: PROBE, width: 360, height: 640, phone: true });
  const other = await browser.newPage({ init: PROBE });
  t.after(() => Promise.all([page.close(), other.close()]));
  const shot = async (name) => process.env.SHOTS && page.screenshot(`${process.env.SHOTS}/phone-${name}.png`);
  await page.goto(`${server.url}/`);
  await page.visible("start-view form");
  await assertFits(page, "start");
  await shot("start");
  await page.goto(`${server.url}/${room}`);
  await page.until("preview", () => !document.querySelector(".preview video")?.hidden);
  await assertFits(page, "lobby");
  await shot("lobby");
  await joinRoom(other, server.url, room, "Grace with quite a long name");
  await joinRoom(page, server.url, room, "Ada");
  await seesPicturesOf(page, 1);
  await assertFits(page, "call");
  await shot("call");
  await page.press("i");
  await page.until("statistics", () => /fps[^]*DTLS/.test(document.querySelector(".tile.person .tile-statistics").innerText));
  await assertFits(page, "statistics");
  await shot("statistics");
  const [lowest, name] = await page.evaluate(() => [".tile-statistics", ".tile-label"].map((part) => document.querySelector(`.tile.person ${part}`).getBoundingClientRect()).map(({ top, bottom }, index) => (index === 0 ? bottom : top)));
  assert.ok(lowest <= name, `statistics reach to ${lowest}, over the name at ${name}`);
  await page.press("i");
  await page.click('[data-action="chat"]');
  await assertFits(page, "chat");
  await shot("chat");
  await page.click('[aria-label="Close the chat"]');
  await page.page.setViewportSize({ width: 640, height: 360 });
  await assertFits(page, "call, lying");
  await shot("lying");
  assertQuiet(page);
});
