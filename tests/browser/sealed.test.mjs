// What is written and sent in a room whose link carries a key: read by who has it, by nobody else, whichever way it goes.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, downloaded, joinRoom, readsChat, roomFor, scratch, seesPicturesOf, writeChat } from "./meeting.mjs";
import { BINARY, start } from "./native.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const FILE_BYTES = 2_000_000;

let server;
let moving;
let firefox;
before(async () => {
  if (skip) return;
  [server, moving] = await Promise.all([startServer("--topology sfu"), startServer("--peers-per-mesh 2 --mesh-after 1")]);
  firefox = await launch("firefox");
});
after(async () => {
  await firefox?.close();
  server?.close();
  moving?.close();
});

const newKey = () => `#key=${randomBytes(32).toString("base64url")}`;
/** Keeps what the page says to the server and hears of it. */
const WIRE = `
  globalThis.wire = [];
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (text) {
    wire.push(String(text));
    return send.call(this, text);
  };
`;

async function person(t, browser, name, url, room) {
  const page = await browser.newPage({ init: PROBE_EACH + SMALL + WIRE, width: 900, height: 640 });
  t.after(() => page.close());
  await joinRoom(page, url, room, name);
  await page.evaluate(() => {
    delete globalThis.showSaveFilePicker;
    globalThis.heard = [];
    const { room } = document.querySelector("call-view");
    for (const name of ["chat", "data", "file"]) room.on(name, ({ own, text, data, name: file }) => own || heard.push(text ?? data ?? file));
  });
  return page;
}

const unreadable = (page) => page.evaluate(() => document.querySelector(".chat-unread").innerText);
const save = (page, name) =>
  page.until(`“${name}” to be saved`, (name) => {
    const card = [...document.querySelectorAll("transfer-card")].find((one) => one.querySelector(".transfer-name").textContent === name);
    const button = [...(card?.querySelectorAll("button") ?? [])].find((one) => one.textContent === "Save");
    button?.click();
    return Boolean(button);
  }, name);

test("in a forwarded room who has the key reads messages and files, and the server and others do not", { skip, timeout: 180_000 }, async (t) => {
  const { folder, file } = scratch(t);
  // A browser of its own: the folder of downloads is the browser's.
  const chromium = await launch("chromium", { downloads: folder });
  t.after(() => chromium.close());
  const name = roomFor("sealed");
  const key = newKey();
  const ada = await person(t, chromium, "Ada", server.url, name + key);
  const eve = await person(t, firefox, "Eve", server.url, name + key);
  const mallory = await person(t, chromium, "Mallory", server.url, name);
  await Promise.all([seesPicturesOf(ada, 2, 0), seesPicturesOf(eve, 2, 0)]);

  await writeChat(ada, "Only for us");
  await readsChat(eve, "Only for us");
  await writeChat(eve, "And back");
  await readsChat(ada, "And back");
  await ada.evaluate(() => document.querySelector("call-view").room.send("a drawing", { topic: "board" }));
  await eve.until("the drawing", () => globalThis.heard.includes("a drawing"));

  const { path, sha256 } = await file("plans.bin", FILE_BYTES);
  await eve.setFiles("#file-input", [path]);
  await save(ada, "plans.bin");
  assert.equal(await downloaded(join(folder, "plans.bin"), FILE_BYTES), sha256);

  // Two texts, the drawing and the file: counted, and said once.
  await mallory.until("four that could not be read", () => document.querySelector("call-view").room.unreadable === 4);
  await mallory.press("c");
  assert.equal(await unreadable(mallory), "4 messages or files could not be read: the link that was opened here has no key.");
  assert.deepEqual(await mallory.evaluate(() => [globalThis.heard, document.querySelectorAll(".message, transfer-card").length]), [[], 0]);
  await eve.until("the word that it was not taken", () => [...document.querySelectorAll("transfer-card")].some((one) => /no key, or another one/.test(one.innerText)));

  // What is said without the key is not shown to who has it.
  await writeChat(mallory, "Believe me");
  await mallory.evaluate(() => document.querySelector("call-view").room.send("believe this"));
  for (const page of [ada, eve]) {
    await page.until("two that could not be read", () => document.querySelector("call-view").room.unreadable === 2);
    assert.equal(await unreadable(page), "2 messages or files could not be read: they were not encrypted with the key of this room.");
    assert.ok(!(await page.evaluate(() => document.body.innerText)).includes("Believe"));
  }
  if (process.env.SHOTS) {
    await ada.screenshot(`${process.env.SHOTS}/sealed.png`);
    await mallory.screenshot(`${process.env.SHOTS}/sealed-without-key.png`);
  }
  for (const page of [ada, eve]) {
    const wire = (await page.evaluate(() => globalThis.wire)).join("\n");
    assert.match(wire, /"sealed":"/, "the chat went by the server");
    assert.ok(!wire.includes("Only for us") && !wire.includes("And back") && !wire.includes("plans.bin"));
    assert.ok(!wire.includes(key.slice(5)), "the key went nowhere");
  }
  assertQuiet(ada, eve, mallory);
});

test("a native participant with the key hears and says data, one without it is not heard", { skip: skip || (BINARY ? false : "TWOCAN_BIN is not set"), timeout: 120_000 }, async (t) => {
  const name = roomFor("sealed-native");
  const key = newKey();
  start(t, BINARY, ["join", `${server.url}/${name}${key}`, "--echo"]);
  const ada = await person(t, firefox, "Ada", server.url, name + key);
  await seesPicturesOf(ada, 1, 0);
  const says = (words, lossy) => ada.evaluate(({ words, lossy }) => document.querySelector("call-view").room.send(words, { topic: "board", lossy }), { words, lossy });
  await says("hello");
  await ada.until("it comes back", () => globalThis.heard.includes("hello"));
  // Some of what may be lost may be lost.
  await until("a lossy message", async () => {
    await says("now", true);
    return ada.evaluate(() => globalThis.heard.includes("now"));
  });
  assert.equal(await ada.evaluate(() => document.querySelector("call-view").room.unreadable), 0);
  // It says nothing: what it heard it could not read.
  start(t, BINARY, ["join", `${server.url}/${name}`, "--echo"]);
  await seesPicturesOf(ada, 2, 0);
  await says("again");
  await ada.until("it comes back from one", () => globalThis.heard.filter((one) => one === "again").length === 1);
  await says("last");
  await ada.until("the last", () => globalThis.heard.includes("last"));
  assert.deepEqual(await ada.evaluate(() => [globalThis.heard.filter((one) => one === "again").length, document.querySelector("call-view").room.unreadable]), [1, 0]);
});

/** The same with the SDK alone, without sound and picture: what moves is what is said. */
async function bare(t, browser, name, url, room) {
  const page = await browser.newPage({ width: 400, height: 300 });
  t.after(() => page.close());
  await page.goto(`${url}/publish/unused`);
  await page.evaluate(async ({ url, name }) => {
    const { Room } = await import("/sdk/index.js");
    const room = (globalThis.room = new Room());
    globalThis.heard = [];
    for (const event of ["chat", "data"]) room.on(event, ({ own, text, data }) => own || heard.push(text ?? data));
    await room.join(url, { name });
  }, { url: `${url}/${room}`, name });
  return page;
}

test("a room that moves to the server goes on as it was", { skip, timeout: 180_000 }, async (t) => {
  const chromium = await launch("chromium");
  t.after(() => chromium.close());
  const name = roomFor("sealed-moves") + newKey();
  const ada = await bare(t, chromium, "Ada", moving.url, name);
  const eve = await bare(t, firefox, "Eve", moving.url, name);
  const shape = (page, wanted, others) => page.until(`a ${wanted}`, ({ wanted, others }) => {
    const peers = [...globalThis.room.peers.values()];
    return globalThis.room.topology === wanted && peers.length === others && peers.every(({ former, state }) => former === null && state === "connected");
  }, { wanted, others }, 60_000);
  const says = (page, text) => page.evaluate((text) => globalThis.room.sendChat(text), text);
  const reads = (page, text) => page.until(`“${text}”`, (text) => globalThis.heard.includes(text), text);
  for (const page of [ada, eve]) await shape(page, "mesh", 1);
  await says(ada, "Directly");
  await reads(eve, "Directly");
  for (const page of [ada, eve]) {
    await page.evaluate(() => {
      globalThis.said = 0;
      globalThis.timer = setInterval(() => room.send(`${said++}`), 20);
    });
  }
  const grace = await bare(t, chromium, "Grace", moving.url, name);
  for (const page of [ada, eve, grace]) await shape(page, "sfu", 2);
  await says(eve, "By the server");
  for (const page of [ada, grace]) await reads(page, "By the server");
  for (const [page, other] of [[ada, eve], [eve, ada]]) {
    const said = await page.evaluate(() => (clearInterval(globalThis.timer), globalThis.said));
    const heard = await other.until(`${said} messages`, (said) => {
      const numbers = globalThis.heard.filter((one) => /^\d+$/.test(one));
      return numbers.length >= said && numbers;
    }, said);
    const wrong = heard.findIndex((one, index) => one !== `${index}`);
    assert.equal(wrong, -1, `${said} said, heard ${heard.slice(Math.max(0, wrong - 3), wrong + 4)} about ${wrong}, ${heard.length} in all`);
  }
  for (const page of [ada, eve, grace]) assert.equal(await page.evaluate(() => globalThis.room.unreadable), 0);
  assertQuiet(ada, eve, grace);
});
