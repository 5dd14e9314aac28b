// What was said before: read once, sealed or not, and never for what it is not.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { makeChat } from "../../web/sdk/chat-messages.js";
import { passChat } from "../../web/sdk/chat-ways.js";
import { Peer } from "../../web/sdk/peer.js";
import { RoomChat } from "../../web/sdk/room-chat.js";
import { RoomSeal } from "../../web/sdk/room-seal.js";

/** Goes on once so much was told; what is told comes in the order in which it was heard. */
async function until(told, what, count) {
  while (told[what].length < count) await new Promise((resolve) => setImmediate(resolve));
}

/** A chat, what it passes on to the server, and what it tells. */
function chatWith(seal = null) {
  const told = { before: [], chat: [], unreadable: [], passed: [] };
  const chat = new RoomChat((message) => told.passed.push(message));
  chat.seal = seal;
  chat.on("before", (messages) => told.before.push(messages.map(({ name, text, at }) => `${name} ${text} ${at}`)));
  chat.on("chat", ({ from, message }) => told.chat.push(`${from} ${message.text}`));
  chat.on("unreadable", (from) => told.unreadable.push(from));
  return { chat, told };
}

const kept = (data, from = "ada", at = 7) => ({ from, name: "Ada", at, data });
const history = (...messages) => ({ event: "chat-history", data: { messages }, from: null });
const said = (data, from = "ada") => ({ event: "chat", data, from });

test("it is told in its order, by the server's clock, and no message twice", async () => {
  const { chat, told } = chatWith();
  const [first, second, third] = ["one", "two", "three"].map((text) => makeChat(text));
  chat.told(history(kept(first, "ada", 1), kept(second, "bob", 2)));
  await until(told, "before", 1);
  chat.told(said(third));
  chat.send(makeChat("mine"));
  // It joined anew: what it heard and said is known.
  chat.told(history(kept(first)));
  chat.told(history(kept(first), kept(second), kept(third), kept(told.passed[0], "me"), kept(makeChat("missed"), "eve", 9)));
  await until(told, "before", 2);
  assert.deepEqual(told.before, [["Ada one 1", "Ada two 2"], ["Ada missed 9"]]);
  assert.deepEqual(told.chat, ["ada three"]);
  assert.deepEqual(told.unreadable, []);
});

test("it goes by the server to be kept, and by the channel to who may know nothing else", () => {
  const sent = [];
  const peer = (id, protocol) => Object.assign(Object.create(Peer.prototype), { id, protocol, chat: { send: (text) => sent.push(`${id} ${JSON.parse(text).text ?? "sealed"}`) } });
  const peers = [peer("new", "twocan.v1"), peer("old", "base"), { id: "forwarded", protocol: "base" }];
  const ways = { isForwarded: false, isKept: false, say: ({ text }, to) => sent.push(`server ${text ?? "sealed"} to ${to}`) };
  const passes = (message, to, change = {}) => {
    passChat(message, to, { ...ways, peers, ...change });
    return sent.splice(0);
  };
  const kept = { isKept: true };
  const message = makeChat("hi");
  assert.deepEqual(passes(message, undefined), ["new hi", "old hi"]);
  assert.deepEqual(passes(message, undefined, kept), ["server hi to all", "old hi"]);
  assert.deepEqual(passes(message, "new", kept), ["new hi"]);
  assert.deepEqual(passes(message, "new", { ...kept, isForwarded: true }), ["server hi to new"]);
  assert.deepEqual(passes({ type: "chat", sealed: "AA" }, undefined, kept), ["server sealed to all"]);
});

test("who hears it both ways is told once, and nobody keeps back what another says", () => {
  const { chat, told } = chatWith();
  const message = makeChat("hi");
  chat.told(said(message));
  chat.hear("ada", JSON.stringify(message));
  chat.hear("bob", JSON.stringify(message));
  chat.hear("ada", "plain");
  chat.hear("ada", "plain");
  assert.deepEqual(told.chat, ["ada hi", "bob hi", "ada plain", "ada plain"]);
});

test("what is none of it is not taken for it", async () => {
  const { chat, told } = chatWith();
  chat.told(said({ messages: [] }, null));
  for (const data of [null, {}, { messages: 7 }, { messages: [] }, { messages: [null, 7] }]) chat.told({ event: "chat-history", data, from: null });
  chat.told(history(kept({ text: "x".repeat(9_000) }), kept({}), kept({ ...makeChat("alone"), direct: true }), kept({ sealed: "AAAA" })));
  chat.told(history(kept(makeChat("at last"))));
  await until(told, "before", 1);
  assert.deepEqual([told.before, told.chat], [[["Ada at last 7"]], []]);
  assert.equal(told.unreadable.length, 4);
});

test("one that cannot be read keeps back no other, and nobody but the server tells of it", async () => {
  const { chat, told } = chatWith();
  const bare = JSON.parse('{"toString":null,"valueOf":null}');
  chat.told({ ...history(kept(makeChat("forged"))), from: "mallory" });
  chat.told(history({ ...kept(makeChat("nameless")), name: bare }, kept(makeChat("readable"))));
  await until(told, "before", 1);
  assert.deepEqual(told.before, [["Ada readable 7"]]);
});

test("a text that is cut ends in no half of a character", () => {
  const { text } = makeChat("a".repeat(7_999) + "😀");
  assert.equal(text, "a".repeat(7_999) + "\ufffd");
  assert.equal(makeChat("😀").text, "😀");
});

test("sealed, it opens for who has the key, though its sender goes on speaking or came back under another id", async () => {
  const secret = new Uint8Array(randomBytes(32));
  const seal = (id, key = secret) => {
    const one = new RoomSeal(key, "den");
    one.begin(id);
    return one;
  };
  const ada = chatWith(seal("ada"));
  for (const text of ["one", "two", "three", "four"]) ada.chat.send(makeChat(text));
  await ada.chat.sending;
  const wire = ada.told.passed.map(({ type, ...data }) => data);
  assert.ok(wire.every(({ sealed, text }) => typeof sealed === "string" && text === undefined));

  const eve = chatWith(seal("eve"));
  eve.chat.told(history(kept(wire[0]), kept(wire[1]), kept(makeChat("in the clear"), "mallory")));
  eve.chat.told(said(wire[2]));
  await until(eve.told, "chat", 1);
  assert.deepEqual(eve.told.before, [["Ada one 7", "Ada two 7"]]);
  assert.deepEqual(eve.told.chat, ["ada three"]);
  assert.deepEqual(eve.told.unreadable, ["mallory"]);
  // What was heard opens again, and is told once.
  eve.chat.told(history(kept(wire[1]), kept(wire[2])));
  eve.chat.told(said(wire[3]));
  await until(eve.told, "chat", 2);
  assert.equal(eve.told.before.length, 1);
  assert.equal(eve.told.unreadable.length, 1);

  // Of somebody else's it is not, nor with another key.
  const bob = chatWith(seal("bob", new Uint8Array(randomBytes(32))));
  bob.chat.told(history(kept(wire[0])));
  const dan = chatWith(seal("dan"));
  dan.chat.told(history(kept(wire[0], "eve")));
  await Promise.all([until(bob.told, "unreadable", 1), until(dan.told, "unreadable", 1)]);
  assert.deepEqual([bob.told.before, dan.told.before], [[], []]);
  assert.deepEqual([bob.told.unreadable, dan.told.unreadable], [["ada"], ["eve"]]);
  // Ada joined anew: what she said was by another id, and is hers to read.
  const again = chatWith(seal("ada again"));
  again.chat.told(history(kept(wire[0])));
  await until(again.told, "before", 1);
  assert.deepEqual(again.told.before, [["Ada one 7"]]);
});
