// Messages and files encrypted end to end, without connections.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBase64Url, toBase64Url } from "../../web/sdk/base64url.js";
import { makeChat } from "../../web/sdk/chat-messages.js";
import { DataChannels } from "../../web/sdk/data-channels.js";
import { DataError, LOSSY_MAX, PAYLOAD_MAX, readData, writeData } from "../../web/sdk/data-messages.js";
import { FileReceiver } from "../../web/sdk/file-receiver.js";
import { FileSender } from "../../web/sdk/file-sender.js";
import { RoomChat } from "../../web/sdk/room-chat.js";
import { RoomData } from "../../web/sdk/room-data.js";
import { RoomFiles } from "../../web/sdk/room-files.js";
import { RoomSeal } from "../../web/sdk/room-seal.js";
import { SEALED_CHANNEL_LEN, SEALED_PROTOCOL, SealedChannel } from "../../web/sdk/sealed-channel.js";
import { MessageOpener, MessageSealer, SEAL_LEN } from "../../web/sdk/sealed-message.js";

const SECRET = Uint8Array.from({ length: 32 }, (_, index) => index);
const OTHER_SECRET = SECRET.map((byte) => byte ^ 1);
const KEY_ID = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const ENVELOPE = Object.freeze({ way: "chat", room: "blue-otter", from: "ada" });
const bytes = (text) => new TextEncoder().encode(text);
const text = (plain) => plain && new TextDecoder().decode(plain);
const hex = (sealed) => Buffer.from(sealed).toString("hex");

/** Waits for what is sealed and opened, however busy the machine is. */
async function until(what) {
  for (const end = performance.now() + 60_000; !what(); await new Promise((resolve) => setImmediate(resolve))) {
    assert.ok(performance.now() < end, `never: ${what}`);
  }
}

test("a sealed message has the layout, the keys and the bonds of the document", async () => {
  // By OpenSSL (HKDF-SHA-512, AES-256-GCM): key 73d95dba…, salt a99cc705….
  const sealer = new MessageSealer(SECRET, KEY_ID);
  const first = await sealer.seal(bytes("Only for us"), ENVELOPE);
  assert.equal(hex(first), "0101020304050607080000000000000000741fcbe454172c3be97ff0f8f3c610570845f8ccccca56e2b83d82");
  assert.equal(first.length, "Only for us".length + SEAL_LEN);
  const toOne = { ...ENVELOPE, way: "file", to: "eve" };
  const second = await sealer.seal(bytes("x"), toOne);
  assert.equal(hex(second), "01010203040506070800000000000000016e06c65a65ae181e946c6665ecebfed206");
  // The library opens this one as well (`rooms/seal.rs`).
  const data = await new MessageSealer(SECRET, KEY_ID).seal(writeData("hi", { topic: "board" }), { ...ENVELOPE, way: "reliable" });
  assert.equal(hex(data), "01010203040506070800000000000000003a70a798161e223bad62ea90595145a42126a917d536aa1c8a66c0");
  const opener = new MessageOpener(SECRET);
  assert.equal(text(await opener.open(first, ENVELOPE)), "Only for us");
  assert.equal(text(await opener.open(second, toOne)), "x");
});

test("what is not what was sealed does not open", async () => {
  const sealed = await new MessageSealer(SECRET).seal(bytes("hello"), ENVELOPE);
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = sealed.slice();
    changed[at] ^= 1;
    assert.equal(await new MessageOpener(SECRET).open(changed, ENVELOPE), null, `byte ${at}`);
  }
  for (let length = 0; length < sealed.length; length += 1) assert.equal(await new MessageOpener(SECRET).open(sealed.slice(0, length), ENVELOPE), null);
  for (const other of [{ way: "reliable" }, { room: "blue-otte" }, { from: "eve" }, { to: "eve" }, { room: "blue-ottera", from: "da" }]) {
    assert.equal(await new MessageOpener(SECRET).open(sealed, { ...ENVELOPE, ...other }), null, JSON.stringify(other));
  }
  assert.equal(await new MessageOpener(OTHER_SECRET).open(sealed, ENVELOPE), null);
  assert.equal(text(await new MessageOpener(SECRET).open(sealed, ENVELOPE)), "hello");
});

test("what came before does not open again, and what overtook does", async () => {
  const sealer = new MessageSealer(SECRET);
  const all = [];
  for (let index = 0; index < 2_200; index += 1) all.push(await sealer.seal(bytes(String(index)), ENVELOPE));
  const opener = new MessageOpener(SECRET);
  const opens = async (index) => text(await opener.open(all[index], ENVELOPE));
  for (const index of [2, 0, 1]) assert.equal(await opens(index), String(index));
  for (const index of [2, 0, 1]) assert.equal(await opens(index), null);
  // At once as well: the second does not pass while the first is being opened.
  const twice = await Promise.all([opener.open(all[3], ENVELOPE), opener.open(all[3], ENVELOPE)]);
  assert.deepEqual(twice.map(text), ["3", null]);
  for (let index = 1_100; index < 2_200; index += 1) assert.equal(await opens(index), String(index));
  assert.equal(await opens(1_150), null, "longer ago than is remembered");
  assert.equal(await opens(2_000), null);
});

test("another session of the same id does not mix with this one", async () => {
  const recorded = await new MessageSealer(SECRET).seal(bytes("yesterday"), ENVELOPE);
  const opener = new MessageOpener(SECRET);
  const today = new MessageSealer(SECRET);
  assert.equal(text(await opener.open(await today.seal(bytes("today"), ENVELOPE), ENVELOPE)), "today");
  assert.equal(await opener.open(recorded, ENVELOPE), null);
  assert.equal(text(await opener.open(await today.seal(bytes("later"), ENVELOPE), ENVELOPE)), "later");
});

test("a whole conversation opens in its order and without gaps", async () => {
  const sealer = new MessageSealer(SECRET);
  const [first, second, third] = [await sealer.seal(bytes("1"), ENVELOPE), await sealer.seal(bytes("2"), ENVELOPE), await sealer.seal(bytes("3"), ENVELOPE)];
  const opener = new MessageOpener(SECRET, { isWhole: true });
  assert.equal(await opener.open(second, ENVELOPE), null);
  assert.equal(text(await opener.open(first, ENVELOPE)), "1");
  assert.equal(await opener.open(third, ENVELOPE), null);
  assert.equal(await opener.open(first, ENVELOPE), null);
  assert.equal(text(await opener.open(second, ENVELOPE)), "2");
});

test("who has another id has other keys", async () => {
  const seal = new RoomSeal(SECRET, "blue-otter");
  seal.begin("ada");
  const keyId = async () => hex(await seal.seal("chat", bytes("x"))).slice(2, 18);
  const [one, same] = [await keyId(), await keyId()];
  assert.equal(one, same);
  seal.begin("ada");
  assert.equal(await keyId(), one);
  // While something is being sealed, too: it goes out under the new id.
  const going = seal.seal("chat", bytes("moved"));
  seal.begin("ada-again");
  const other = new RoomSeal(SECRET, "blue-otter");
  assert.equal(text(await other.open("chat", "ada-again", await going)), "moved");
  assert.notEqual(await keyId(), one);
});

test("ids that nothing opens of push out nobody who was heard", async () => {
  const ada = new RoomSeal(SECRET, "blue-otter");
  ada.begin("ada");
  const bob = new RoomSeal(SECRET, "blue-otter");
  const sealed = await ada.seal("chat", bytes("once"));
  assert.equal(text(await bob.open("chat", "ada", sealed)), "once");
  for (let index = 0; index < 2_100; index += 1) await bob.open("chat", `nobody-${index}`, sealed.subarray(0, 20));
  assert.equal(await bob.open("chat", "ada", sealed), null);
});

test("base64url is read as it is written", () => {
  for (const length of [0, 1, 2, 3, 70_000]) {
    const some = Uint8Array.from({ length }, (_, index) => (index * 251) & 255);
    assert.deepEqual(fromBase64Url(toBase64Url(some)), some);
  }
  assert.equal(toBase64Url(Uint8Array.of(251, 255)), "-_8");
  assert.equal(fromBase64Url("no_such!"), null);
});

/** The chat of somebody in a room; `seal`: whether with the room's secret, another one, or none. */
function chat(id, secret, passed = []) {
  const one = new RoomChat((message) => passed.push(JSON.stringify(message)));
  one.seal = secret && new RoomSeal(secret, "blue-otter");
  one.seal?.begin(id);
  const heard = [];
  one.on("chat", ({ from, message }) => heard.push(`${from}: ${message.text}`));
  one.on("unreadable", (from) => heard.push(`${from} ?`));
  return { chat: one, passed, heard };
}

test("a chat is sealed, in its order, and read by who has the key and nobody else", async () => {
  const ada = chat("ada", SECRET);
  const [eve, mallory, plain] = [chat("eve", SECRET), chat("mallory", OTHER_SECRET), chat("plain", null)];
  const said = ["Only for us", "é".repeat(8_000), "third"];
  for (const one of said) ada.chat.send(makeChat(one));
  await until(() => ada.passed.length === 3);
  for (const wire of ada.passed) {
    assert.doesNotMatch(wire, /Only|third|text|"at"/);
    for (const one of [eve, mallory, plain]) one.chat.hear("ada", wire);
  }
  await until(() => [eve, mallory, plain].every(({ heard }) => heard.length === 3));
  assert.deepEqual(eve.heard, said.map((one) => `ada: ${one}`));
  assert.deepEqual(mallory.heard, ["ada ?", "ada ?", "ada ?"]);
  assert.deepEqual(plain.heard, ["ada ?", "ada ?", "ada ?"]);
  // As if somebody else had said it, or once more.
  eve.chat.hear("bob", ada.passed[0]);
  eve.chat.hear("ada", ada.passed[0]);
  await until(() => eve.heard.length === 5);
  assert.deepEqual(eve.heard.slice(3), ["bob ?", "ada ?"]);
});

test("a text that cannot go out holds up none of those after it", async () => {
  const passed = [];
  const ada = new RoomChat((message) => {
    if (passed.push(message) === 1) throw new Error("the channel is full");
  });
  ada.seal = new RoomSeal(SECRET, "blue-otter");
  ada.seal.begin("ada");
  assert.equal(ada.sending, null);
  for (const one of ["first", "second", "third"]) ada.send(makeChat(one));
  await ada.sending;
  assert.deepEqual([passed.length, ada.sending], [3, null]);
});

test("in an encrypted chat what is in the clear is not shown, and what is no message is nothing", async () => {
  const eve = chat("eve", SECRET);
  const open = JSON.stringify(makeChat("believe me"));
  for (const wire of [open, "plain text", '{"type":"chat","sealed":"no such text"}', '{"type":"chat","sealed":"AQ"}', '{"type":"typing"}', " "]) eve.chat.hear("ada", wire);
  await until(() => eve.heard.length === 4);
  assert.deepEqual(eve.heard, ["ada ?", "ada ?", "ada ?", "ada ?"]);
  const plain = chat("plain", null);
  plain.chat.hear("ada", open);
  assert.deepEqual(plain.heard, ["ada: believe me"]);
});

/** A data channel of which the test is the other end. */
class Channel extends EventTarget {
  readyState = "open";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  protocol = "";
  other = null;
  sent = [];
  isClosed = false;
  send(data) {
    this.sent.push(data);
    this.other?.onmessage?.({ data: data.buffer ?? data });
  }
  close() {
    for (const one of [this, this.other]) {
      if (!one || one.readyState === "closed") continue;
      one.readyState = "closed";
      one.onclose?.({});
    }
  }
}

/** The data of somebody in a forwarded room. */
function data(id, secret) {
  const link = { connectionState: "connected", createDataChannel: (_label, { protocol }) => Object.assign(made, { protocol }) };
  const made = new Channel();
  const server = new DataChannels(link, () => {});
  const peers = new Map(["ada", "eve"].filter((one) => one !== id).map((one) => [one, { id: one, former: null }]));
  const room = new RoomData({ server: { data: server } }, peers);
  room.seal = secret && new RoomSeal(secret, "blue-otter");
  room.seal?.begin(id);
  room.begin("sfu");
  room.tend({ id: "server", data: server }, true);
  const heard = [];
  room.on("data", ({ from, data, topic, lossy }) => heard.push([from, typeof data === "string" ? data : [...data], topic, lossy]));
  room.on("unreadable", (from) => heard.push([from]));
  const fromServer = { reliable: new Channel(), lossy: new Channel() };
  for (const [name, channel] of Object.entries(fromServer)) server.adopt(Object.assign(channel, { protocol: `twocan.data.${name}` }));
  return { room, made, heard, fromServer };
}

/** As the server passes it on. */
const passedOn = (from, sent) => {
  const { names, topic, data } = readData(sent.slice().buffer);
  return { names, topic, data: writeData(data, { names: [from], topic }).buffer };
};

test("data is sealed with its topic, and keeps its order", async () => {
  const ada = data("ada", SECRET);
  const [eve, mallory, plain] = [data("eve", SECRET), data("eve", OTHER_SECRET), data("eve", null)];
  const reused = Uint8Array.of(1, 2, 3);
  const sending = [ada.room.send("secret words", { topic: "board" }), ada.room.send(reused, { to: ["eve"] }), ada.room.send("three", {})];
  reused.fill(9);
  await Promise.all(sending);
  assert.equal(ada.made.sent.length, 3);
  for (const [index, sent] of ada.made.sent.entries()) {
    assert.doesNotMatch(Buffer.from(sent).toString("latin1"), /secret|words|board|three/);
    const passed = passedOn("ada", sent);
    assert.deepEqual([passed.names, passed.topic], [index === 1 ? ["eve"] : [], "twocan.sealed"]);
    for (const one of [eve, mallory, plain]) one.fromServer.reliable.onmessage({ data: passed.data });
  }
  await until(() => [eve, mallory, plain].every(({ heard }) => heard.length === 3));
  assert.deepEqual(eve.heard, [["ada", "secret words", "board", false], ["ada", [1, 2, 3], "", false], ["ada", "three", "", false]]);
  for (const one of [mallory, plain]) assert.deepEqual(one.heard, [["ada"], ["ada"], ["ada"]]);
  // In the clear, under another name, on another channel, and again.
  const { reliable, lossy } = eve.fromServer;
  const [first] = ada.made.sent;
  reliable.onmessage({ data: writeData("in the clear", { names: ["ada"] }).buffer });
  reliable.onmessage({ data: writeData("a text", { names: ["ada"], topic: "twocan.sealed" }).buffer });
  reliable.onmessage({ data: passedOn("bob", first).data });
  lossy.onmessage({ data: passedOn("ada", first).data });
  reliable.onmessage({ data: passedOn("ada", first).data });
  await until(() => eve.heard.length === 8);
  assert.deepEqual(eve.heard.slice(3), [["ada"], ["ada"], ["bob"], ["ada"], ["ada"]]);
});

test("sealed data has a little less room, and says so at once", async () => {
  const { room, made } = data("ada", SECRET);
  const isTooLarge = (error) => error instanceof DataError && error.reason === "too_large";
  await room.send(new Uint8Array(PAYLOAD_MAX - 37 - 5), { topic: "board" });
  await assert.rejects(room.send(new Uint8Array(PAYLOAD_MAX - 37 - 4), { topic: "board" }), isTooLarge);
  await room.send(new Uint8Array(LOSSY_MAX - 50 - 5), { topic: "board", lossy: true });
  await assert.rejects(room.send(new Uint8Array(LOSSY_MAX - 50 - 4), { topic: "board", lossy: true }), isTooLarge);
  await assert.rejects(room.send(new Uint8Array(PAYLOAD_MAX + 1), {}), isTooLarge);
  assert.equal(made.sent.length, 2);
  for (const sent of made.sent) assert.ok(readData(sent.slice().buffer), "a server takes it");
});

/** Two ends of a channel, the ends of the transfer, and what goes between. */
function ends(secrets = [SECRET, SECRET], ids = ["ada", "eve"]) {
  const channels = [new Channel(), new Channel()];
  [channels[0].other, channels[1].other] = [channels[1], channels[0]];
  for (const one of channels) one.protocol = SEALED_PROTOCOL;
  const seals = secrets.map((secret, index) => {
    const seal = secret && new RoomSeal(secret, "blue-otter");
    seal?.begin(ids[index]);
    return seal;
  });
  return { channels, seals };
}

/** Keeps what it is given. */
function sink() {
  const chunks = [];
  return { chunks, write: async (chunk) => void chunks.push(chunk.slice()), close: async () => {}, discard: async () => {}, file: async () => null };
}

test("a file travels sealed, and arrives", async () => {
  const { channels, seals } = ends();
  const files = new RoomFiles();
  files.seal = seals[1];
  const offered = [];
  files.on("file", (file) => offered.push(file));
  files.offered(channels[1], "ada");
  const content = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 7 + (index >> 8)) & 255);
  const file = new File([content], "plans.txt", { type: "text/plain" });
  const sender = new FileSender(seals[0].channel(channels[0], "eve"), "eve", file, 65_536 - SEALED_CHANNEL_LEN);
  await until(() => offered.length === 1);
  assert.deepEqual([offered[0].name, offered[0].size], ["plans.txt", content.length]);
  const place = sink();
  offered[0].accept(place);
  await until(() => sender.isOver && offered[0].isOver);
  assert.deepEqual([sender.state, offered[0].state], ["done", "done"]);
  assert.ok(Buffer.concat(place.chunks).equals(Buffer.from(content)));
  for (const { sent } of channels) {
    for (const one of sent) {
      assert.ok(one instanceof Uint8Array && one.length <= 65_536);
      assert.ok(!Buffer.from(one).includes("plans") && !Buffer.from(one).includes(content.subarray(0, 64)));
    }
  }
});

test("who has no key, or another one, is offered no file, and its sender is told", async () => {
  for (const secret of [OTHER_SECRET, null]) {
    const { channels, seals } = ends([SECRET, secret]);
    const files = new RoomFiles();
    files.seal = seals[1];
    const heard = [];
    files.on("file", () => heard.push("file"));
    files.on("unreadable", (from) => heard.push(from));
    const sender = new FileSender(seals[0].channel(channels[0], "eve"), "eve", new File(["x"], "x"), 1_000);
    files.offered(channels[1], "ada");
    // What was sent before somebody listened comes then.
    for (const one of channels[0].sent.slice()) channels[1].onmessage?.({ data: one.buffer });
    await until(() => sender.isOver && heard.length > 0);
    assert.deepEqual(heard, ["ada"]);
    assert.equal(sender.state, "failed");
    assert.match(sender.reason, /no key, or another one/);
  }
});

test("a file that is offered in the clear is not shown in an encrypted room", () => {
  const files = new RoomFiles();
  files.seal = new RoomSeal(SECRET, "blue-otter");
  const heard = [];
  files.on("file", () => heard.push("file"));
  files.on("unreadable", (from) => heard.push(from));
  const channel = new Channel();
  files.offered(channel, "ada");
  assert.deepEqual([heard, channel.readyState], [["ada"], "closed"]);
});

test("a sealed channel that is changed, or played back, ends", async () => {
  const recorded = { sent: [] };
  {
    const { channels } = ends();
    const [ada, eve] = [options("ada", "eve"), options("eve", "ada")].map((one, index) => new SealedChannel(channels[index], one));
    const heard = [];
    eve.onmessage = ({ data }) => heard.push(data);
    const answers = [];
    ada.onmessage = ({ data }) => answers.push(data);
    ada.send("offer");
    await until(() => heard.length === 1);
    eve.send("accept");
    await until(() => answers.length === 1);
    ada.send(Uint8Array.of(1, 2, 3));
    await until(() => heard.length === 2);
    assert.deepEqual([...new Uint8Array(heard[1])], [1, 2, 3]);
    recorded.sent = channels[0].sent;
  }
  const [offer, chunk] = recorded.sent;
  // The offer, played back, is one; the bytes answer another receiver.
  for (const [plays, wanted] of [[[offer, chunk], ["offer"]], [[chunk], []], [[offer, offer], ["offer"]], [[changed(offer)], []]]) {
    const channel = new Channel();
    const eve = new SealedChannel(channel, options("eve", "ada"));
    const heard = [];
    let broken = 0;
    eve.onmessage = ({ data }) => heard.push(data);
    eve.onunreadable = () => (broken += 1);
    for (const one of plays) channel.onmessage({ data: one.slice().buffer });
    await until(() => channel.readyState === "closed");
    assert.deepEqual([heard, broken], [wanted, 1]);
    assert.equal(eve.reason, "what came could not be read");
  }
});

const options = (self, other) => ({ secret: SECRET, room: "blue-otter", self, other });
const changed = (sealed) => sealed.map((byte, at) => (at === sealed.length - 1 ? byte ^ 1 : byte));

test("a sealed channel counts what is being sealed, and says when it is low", async () => {
  const channel = new Channel();
  const ada = new SealedChannel(channel, options("ada", "eve"));
  ada.bufferedAmountLowThreshold = 10;
  let low = 0;
  ada.onbufferedamountlow = () => (low += 1);
  ada.send("x".repeat(100));
  ada.send("y".repeat(100));
  assert.ok(ada.bufferedAmount >= 200);
  ada.close();
  assert.equal(ada.readyState, "closing");
  await until(() => channel.readyState === "closed");
  assert.deepEqual([channel.sent.length, ada.bufferedAmount, low], [2, 0, 1]);
});

test("a sealed channel that waits to be empty hears of it, though it was not full by the measure of before", async () => {
  const channel = new Channel();
  const ada = new SealedChannel(channel, options("ada", "eve"));
  ada.bufferedAmountLowThreshold = 1_000;
  let low = 0;
  ada.onbufferedamountlow = () => (low += 1);
  ada.send("x".repeat(100));
  ada.bufferedAmountLowThreshold = 0;
  await until(() => low === 1);
});

test("a sealed channel on which something cannot be sent is closed", async () => {
  const channel = new Channel();
  const ada = new SealedChannel(channel, options("ada", "eve"));
  channel.send = () => {
    throw new TypeError("too long");
  };
  ada.send("offer");
  await until(() => channel.readyState === "closed");
  assert.equal(ada.reason, "what was said could not be sent");
});
