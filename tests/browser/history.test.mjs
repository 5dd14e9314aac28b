// What was said before somebody came, where the server keeps it: in a plain room, in one whose link carries a key, and not
// at all by default.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, joinRoom, readsChat, roomFor, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";
import { tutorialClient } from "./tutorial-client.mjs";

let keeps;
let forgets;
let browser;
before(async () => {
  [keeps, forgets] = await Promise.all([startServer("--chat-history 3"), startServer()]);
  browser = await launch("chromium");
});
after(async () => {
  await browser?.close();
  keeps?.close();
  forgets?.close();
});

/** Keeps what the page hears of the server. */
const WIRE = `
  globalThis.wire = [];
  const Plain = WebSocket;
  globalThis.WebSocket = class extends Plain {
    constructor(...words) {
      super(...words);
      this.addEventListener("message", ({ data }) => wire.push(String(data)));
    }
  };
`;

async function person(t, name, url, room, size = { width: 900, height: 640 }) {
  const page = await browser.newPage({ init: PROBE_EACH + SMALL + WIRE, ...size });
  t.after(() => page.close());
  await joinRoom(page, url, room, name);
  return page;
}

const openChat = (page) => page.click('[data-action="chat"]');
const shot = (page, name) => process.env.SHOTS && page.screenshot(`${process.env.SHOTS}/${name}.png`);
/** What stands in the chat: headings, and messages with who said them where that is shown. */
const chat = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll(".chat-list > *")].map((one) => {
      if (!one.matches(".message")) return one.innerText;
      const head = one.classList.contains("together") ? "" : `${one.querySelector("strong").innerText}: `;
      return `${head}${one.querySelector("p").innerText}`;
    }),
  );
const meets = (page, others) => page.until(`${others} others`, (others) => document.querySelector("call-view").room.peers.size === others, others);
const tellsOneAlone = (page, text) =>
  page.evaluate((text) => {
    const { room } = document.querySelector("call-view");
    room.sendChat(text, { to: [...room.peers.keys()][0] });
  }, text);

test("who comes later reads what was said to all, under a line that says so", { timeout: 120_000 }, async (t) => {
  const name = roomFor("history");
  const ada = await person(t, "Ada", keeps.url, name);
  await openChat(ada);
  assert.match((await chat(ada))[0], /^Messages to everyone go through the server, which keeps the last 3 /);
  for (const text of ["Zero", "One", "Two"]) await writeChat(ada, text);
  const eve = await person(t, "Eve", keeps.url, name);
  await openChat(eve);
  await readsChat(eve, "Two");
  assert.deepEqual(await chat(eve), ["Before you joined", "Ada: Zero", "One", "Two", "Since you joined"]);
  // What is said now comes once, by the server, and stands apart; what is for one alone is not kept.
  await meets(ada, 1);
  await writeChat(eve, "Hello");
  await readsChat(ada, "Hello");
  await tellsOneAlone(ada, "Only for you");
  await readsChat(eve, "Only for you");
  assert.deepEqual((await chat(eve)).slice(-2), ["You: Hello", "Ada: Only for you"]);
  assert.deepEqual(await eve.evaluate(() => document.querySelectorAll(".message time[datetime]").length), 5);
  await shot(eve, "history");

  // Who said it has gone.
  await ada.evaluate(() => document.querySelector("call-view").room.leave());
  await meets(eve, 0);
  const bob = await person(t, "Bob", keeps.url, name, { width: 390, height: 780 });
  await openChat(bob);
  await readsChat(bob, "Hello");
  assert.deepEqual(await chat(bob), ["Before you joined", "Ada: One", "Two", "Eve: Hello", "Since you joined"]);
  await shot(bob, "history-phone");
  assertQuiet(ada, eve, bob);
});

test("a client of the base protocol that knows the channel alone hears it there, once", { timeout: 120_000 }, async (t) => {
  const name = roomFor("history-base");
  const ada = await person(t, "Ada", keeps.url, name);
  // It takes whatever channel is opened to it.
  const base = await browser.newPage({
    init: `
      globalThis.said = [];
      const Plain = RTCPeerConnection;
      globalThis.RTCPeerConnection = class extends Plain {
        constructor(configuration) {
          super(configuration);
          this.ondatachannel = ({ channel }) => (channel.onmessage = ({ data }) => channel.label === "chat" && said.push(JSON.parse(data).text));
        }
      };`,
  });
  t.after(() => base.close());
  await base.goto(`${keeps.url}/`);
  await base.evaluate(tutorialClient, { url: `${keeps.url.replace(/^http/, "ws")}/webrtc/${name}` });
  await ada.until("a channel to it", () => [...document.querySelector("call-view").room.peers.values()].some((peer) => peer.chat.isOpen), null, 30_000);
  await writeChat(ada, "To all of you");
  await writeChat(ada, "And more");
  await base.until("both", () => globalThis.said.length >= 2);
  assert.deepEqual(await base.evaluate(() => globalThis.said), ["To all of you", "And more"]);
  // The server has kept them as well.
  const eve = await person(t, "Eve", keeps.url, name);
  await openChat(eve);
  await readsChat(eve, "And more");
  assert.deepEqual(await chat(eve), ["Before you joined", "Ada: To all of you", "And more", "Since you joined"]);
  await meets(ada, 2);
  await writeChat(ada, "Once");
  await readsChat(eve, "Once");
  await base.until("the third", () => globalThis.said.length >= 3);
  assert.deepEqual((await chat(eve)).slice(-2), ["Since you joined", "Ada: Once"]);
  assertQuiet(ada, eve);
});

test("in a room whose link carries a key it is kept as it is: who has the key reads it", { timeout: 120_000 }, async (t) => {
  const name = roomFor("history-sealed");
  const key = `#key=${randomBytes(32).toString("base64url")}`;
  const ada = await person(t, "Ada", keeps.url, name + key);
  await openChat(ada);
  assert.match((await chat(ada))[0], /the server keeps the last 3 messages, encrypted,/);
  await writeChat(ada, "Only for us");
  await writeChat(ada, "And this");
  const eve = await person(t, "Eve", keeps.url, name + key);
  await openChat(eve);
  await readsChat(eve, "And this");
  assert.deepEqual(await chat(eve), ["Before you joined", "Ada: Only for us", "And this", "Since you joined"]);
  // What the same one says next opens as well.
  await meets(ada, 1);
  await writeChat(ada, "Now");
  await readsChat(eve, "Now");
  assert.equal(await eve.evaluate(() => document.querySelector("call-view").room.unreadable), 0);
  const wire = (await eve.evaluate(() => globalThis.wire)).filter((text) => /"event":"chat/.test(text)).join("\n");
  assert.match(wire, /"chat-history".*"sealed":"/s);
  assert.ok(!wire.includes("Only for us") && !wire.includes("Now"));
  // Without the key there are three that cannot be read, and nothing else.
  const mallory = await person(t, "Mallory", keeps.url, name);
  await mallory.until("three that could not be read", () => document.querySelector("call-view").room.unreadable === 3);
  await openChat(mallory);
  assert.equal(await mallory.evaluate(() => document.querySelectorAll(".message, .chat-part").length), 0);
  // Nor does who has the key read what was said without it.
  await writeChat(mallory, "Believe me");
  const bob = await person(t, "Bob", keeps.url, name + key);
  await openChat(bob);
  await readsChat(bob, "Now");
  assert.deepEqual(await chat(bob), ["Before you joined", "Ada: And this", "Now", "Since you joined"]);
  assert.equal(await bob.evaluate(() => document.querySelector("call-view").room.unreadable), 1);
  assertQuiet(ada, eve, mallory, bob);
});

test("by default nothing is kept, and the server sees nothing of what is said", { timeout: 120_000 }, async (t) => {
  const name = roomFor("no-history");
  const ada = await person(t, "Ada", forgets.url, name);
  await openChat(ada);
  assert.match((await chat(ada))[0], /^Messages go straight to the others and are not stored\./);
  await writeChat(ada, "Into the air");
  const eve = await person(t, "Eve", forgets.url, name);
  await meets(ada, 1);
  await writeChat(ada, "To you");
  await readsChat(eve, "To you");
  await openChat(eve);
  assert.deepEqual(await chat(eve), ["Ada: To you"]);
  const wire = (await eve.evaluate(() => globalThis.wire)).join("\n");
  assert.ok(!wire.includes('"chat"') || !/"event":"chat/.test(wire));
  assert.doesNotMatch(wire, /chat_history|chat-history|To you/);
  assertQuiet(ada, eve);
});
