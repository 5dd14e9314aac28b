// Messages to one participant alone, without a browser.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { makeChat, readChat } from "../../web/sdk/chat-messages.js";
import { RoomChat } from "../../web/sdk/room-chat.js";
import { RoomSeal } from "../../web/sdk/room-seal.js";

test("a message says that it went to one alone, and nothing else passes for that", () => {
  const message = makeChat("Between us", true);
  assert.equal(message.direct, true);
  assert.deepEqual(readChat(JSON.stringify(message)), message);
  assert.equal("direct" in makeChat("To all"), false);
  for (const at of [1e300, -1e300, NaN, "now"]) assert.ok(Math.abs(readChat(JSON.stringify({ ...message, at })).at - Date.now()) < 60_000, String(at));
  for (const direct of [1, "true", {}, null, false]) {
    assert.equal("direct" in readChat(JSON.stringify({ ...message, direct })), false, JSON.stringify(direct));
  }
});

test("who gets it is kept with each message, sealed or not, and one for eve alone opens for nobody else", async () => {
  for (const isSealed of [false, true]) {
    const secret = new Uint8Array(randomBytes(32));
    const sent = [];
    const ada = new RoomChat((message, to) => sent.push([JSON.stringify(message), to]));
    const eve = new RoomChat(() => assert.fail("says nothing"));
    const heard = [];
    eve.on("chat", ({ from, message }) => heard.push([from, message.text, message.direct ?? false]));
    if (isSealed) {
      ada.seal = new RoomSeal(secret, "den");
      ada.seal.begin("ada");
      eve.seal = new RoomSeal(secret, "den");
      eve.seal.begin("eve");
    }
    ada.send(makeChat("One", true), "eve");
    ada.send(makeChat("Two"));
    ada.send(makeChat("Three", true), "eve");
    while (sent.length < 3) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(sent.map(([, to]) => to), ["eve", undefined, "eve"]);
    for (const [text] of sent) eve.hear("ada", text);
    while (heard.length < 3) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(heard, [["ada", "One", true], ["ada", "Two", false], ["ada", "Three", true]]);
    if (!isSealed) continue;
    // The server gives them to another, says that they are for all, or for one alone, or brings them back.
    const [bob, again] = ["bob", "ada"].map((id) => {
      const chat = new RoomChat(() => {});
      chat.seal = new RoomSeal(secret, "den");
      chat.seal.begin(id);
      const heard = [];
      chat.on("chat", ({ message }) => heard.push(message.text));
      chat.on("unreadable", () => heard.push(null));
      return { chat, heard };
    });
    const [direct, open] = sent.map(([text]) => JSON.parse(text));
    const { direct: _, ...bare } = direct;
    for (const one of [direct, bare, { ...open, direct: true }, open]) bob.chat.hear("ada", JSON.stringify(one));
    again.chat.hear("ada", JSON.stringify(open));
    while (bob.heard.length < 4 || again.heard.length < 1) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([bob.heard, again.heard], [[null, null, null, "Two"], [null]]);
  }
});
