// What participants say to each other over data channels, without connections.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DataChannels } from "../../web/sdk/data-channels.js";
import { DataError, LOSSY_MAX, PAYLOAD_MAX, readData, writeData, writeFence } from "../../web/sdk/data-messages.js";
import { Peer } from "../../web/sdk/peer.js";
import { Room } from "../../web/sdk/room.js";
import { RoomData } from "../../web/sdk/room-data.js";

const text = (bytes) => Buffer.from(bytes).toString("latin1");
const hasReason = (reason) => (error) => error instanceof DataError && error.reason === reason;

test("a message has the layout of the document", () => {
  assert.equal(text(writeData("hi", { names: ["ada", "é"], topic: "t" })), "\x01\x01\x02\x03ada\x02\xc3\xa9\x01thi");
  assert.equal(text(writeData(Uint8Array.of(7, 8))), "\x01\0\0\0\x07\x08");
  assert.equal(text(writeFence(258)), "\x03\0\0\x01\x02");
  const view = new DataView(Uint8Array.of(1, 2, 3, 4).buffer, 1, 2);
  assert.equal(text(writeData(view)), "\x01\0\0\0\x02\x03");
});

test("what is written is read", () => {
  const read = (data, options) => readData(writeData(data, options).buffer);
  assert.deepEqual(read("né", { names: ["a", "b"], topic: "board" }), { kind: "message", names: ["a", "b"], topic: "board", data: "né" });
  assert.deepEqual(read(Uint8Array.of(0, 255).buffer), { kind: "message", names: [], topic: "", data: Uint8Array.of(0, 255) });
  assert.deepEqual(readData(Uint8Array.of(2, 0, 0, 1, 2).buffer), { kind: "gap", missed: 258 });
  assert.deepEqual(readData(writeFence(9).buffer), { kind: "fence", number: 9 });
});

test("what is no message is none", () => {
  for (const bytes of [[], [9], [1], [1, 0], [1, 0, 0], [1, 0, 1, 5, 65], [1, 0, 255], [2, 0, 0], [3]]) assert.equal(readData(Uint8Array.from(bytes).buffer), null);
  assert.equal(readData("text"), null);
  assert.equal(readData(null), null);
  assert.equal(readData(new Uint8Array(5 + PAYLOAD_MAX).fill(0).fill(1, 0, 1).buffer), null);
});

test("what is longer than it may be is refused, with a reason", () => {
  assert.equal(writeData(new Uint8Array(PAYLOAD_MAX)).length, PAYLOAD_MAX + 4);
  assert.throws(() => writeData(new Uint8Array(PAYLOAD_MAX + 1)), hasReason("too_large"));
  assert.throws(() => writeData("é".repeat(PAYLOAD_MAX / 2 + 1)), hasReason("too_large"));
  assert.equal(writeData(new Uint8Array(LOSSY_MAX - 5), { topic: "board", lossy: true }).length, LOSSY_MAX + 4);
  assert.throws(() => writeData(new Uint8Array(LOSSY_MAX - 4), { topic: "board", lossy: true }), hasReason("too_large"));
  assert.throws(() => writeData("", { topic: "é".repeat(128) }), hasReason("topic_too_long"));
  assert.throws(() => writeData("", { names: Array.from({ length: 256 }, String) }), hasReason("too_many_receivers"));
});

test("who is in no room, or may not, sends nothing", async () => {
  const room = new Room();
  await assert.rejects(room.send("hi"), hasReason("not_joined"));
  room.id = "me";
  room.order.joined({ permissions: ["subscribe"] });
  await assert.rejects(room.send("hi"), hasReason("not_permitted"));
  room.order.permissions = ["subscribe", "data"];
  await room.send("hi");
  await assert.rejects(room.send(new Uint8Array(PAYLOAD_MAX + 1)), hasReason("too_large"));
});

/** A channel of which a test decides when it opens, and when what it was given has gone. */
class Channel extends EventTarget {
  readyState = "connecting";
  bufferedAmount = 0;
  sent = [];
  constructor(protocol) {
    super();
    this.protocol = protocol;
  }
  open() {
    this.readyState = "open";
    this.dispatchEvent(new Event("open"));
  }
  send(bytes) {
    assert.equal(this.readyState, "open");
    this.bufferedAmount += bytes.length;
    this.sent.push(readData(bytes.slice().buffer));
  }
  drain() {
    this.bufferedAmount = 0;
    this.dispatchEvent(new Event("bufferedamountlow"));
  }
  close() {
    if (this.readyState !== "closed") this.readyState = "closing";
  }
  closed() {
    this.readyState = "closed";
    this.dispatchEvent(new Event("close"));
  }
}

/** The channels of a connection that is none. */
function channels() {
  const made = [];
  const connection = {
    connectionState: "connected",
    createDataChannel(label, { protocol }) {
      assert.equal(label, "data");
      return made[made.push(new Channel(protocol)) - 1];
    },
  };
  return { data: new DataChannels(connection, () => {}), made, of: (protocol) => made.findLast((one) => one.protocol.endsWith(protocol)) };
}

const said = (channel) => channel.sent.map(({ data, number, names = [] }) => [data ?? number, ...names].join(" "));
const turns = async (count = 20) => {
  for (let turn = 0; turn < count; turn += 1) await null;
};

test("what is sent before a channel is open waits for it, and what may be lost does not", async () => {
  const { data, of } = channels();
  data.send(writeData("one"));
  data.sendLossy(writeData("lost"));
  of("reliable").open();
  of("lossy").open();
  data.sendLossy(writeData("two", { lossy: true }));
  of("lossy").bufferedAmount = 64 * 1024;
  data.sendLossy(writeData("no room", { lossy: true }));
  assert.deepEqual([said(of("reliable")), said(of("lossy"))], [["one"], ["two"]]);
});

test("who sends a lot waits for room, and no longer than the connection lasts", async () => {
  const { data, of } = channels();
  data.open();
  of("reliable").open();
  let count = 0;
  for (; count < 16; count += 1) {
    data.send(writeData(new Uint8Array(PAYLOAD_MAX)));
  }
  let goesOn = 0;
  const wait = () => data.room().then(() => (goesOn += 1));
  wait();
  await turns();
  assert.equal(goesOn, 0);
  of("reliable").drain();
  await turns();
  assert.equal(goesOn, 1);
  of("reliable").bufferedAmount = 8 << 20;
  assert.ok(data.isFull);
  wait();
  await turns();
  data.close();
  await turns();
  assert.equal(goesOn, 2);
});

/** A room of others, each with channels of its own, and a server. */
function meeting() {
  const server = channels();
  const all = new Map(["ada", "bob"].map((id) => [id, channels()]));
  const direct = (id) => Object.assign(Object.create(Peer.prototype), { id, data: all.get(id).data, former: null });
  const peers = new Map([...all.keys()].map((id) => [id, direct(id)]));
  const forwarded = (id) => ({ id, former: peers.get(id) });
  const links = { server: null };
  const room = new RoomData(links, peers);
  return { room, links, peers, server, all, direct, forwarded };
}

test("in a mesh it goes to each, or to those who are named", async () => {
  const { room, all } = meeting();
  room.begin("mesh");
  room.send("all", {});
  room.send("one", { to: ["bob", "nobody"] });
  room.send("none", { to: [] });
  for (const { of } of all.values()) of("reliable").open();
  assert.deepEqual([...all.values()].map(({ of }) => said(of("reliable"))), [["all"], ["all", "one"]]);
});

test("a room that moves to a server keeps the order, and loses nothing", async () => {
  const { room, links, peers, server, all, forwarded } = meeting();
  room.begin("mesh");
  room.send("1", {});
  for (const { of } of all.values()) of("reliable").open();
  for (const id of all.keys()) peers.set(id, forwarded(id));
  links.server = { data: server.data };
  room.move("sfu");
  room.send("2", {});
  room.send("3", { to: ["ada"] });
  await turns();
  assert.equal(server.made.length, 0, "what was said before has not arrived");
  const directs = [...all.values()].map(({ of }) => of("reliable"));
  assert.ok(directs.every(({ readyState }) => readyState === "closing"));
  for (const channel of directs) channel.closed();
  await turns();
  room.send("4", {});
  server.of("reliable").open();
  assert.deepEqual(said(server.of("reliable")), ["2", "3 ada", "4"]);
  assert.deepEqual(directs.map(said), [["1"], ["1"]]);
});

test("a room that leaves a server goes on once the server has passed everything on", async () => {
  const { room, links, peers, server, all, direct, forwarded } = meeting();
  room.begin("sfu");
  links.server = { data: server.data };
  room.tend({ id: "server", data: server.data }, true);
  for (const id of all.keys()) peers.set(id, { id, former: null });
  server.data.open();
  server.of("reliable").open();
  room.send("1", {});
  for (const id of all.keys()) peers.set(id, Object.assign(direct(id), { former: forwarded(id) }));
  room.move("mesh");
  room.send("2", {});
  let settled = false;
  room.settle("mesh").then(() => (settled = true));
  room.send("3", {});
  await turns();
  assert.deepEqual(said(server.of("reliable")), ["1", "2", "1"], "the last is the fence");
  assert.ok(!settled && all.get("ada").made.length === 0);
  server.of("reliable").onmessage({ data: writeFence(1).buffer });
  await turns();
  assert.ok(settled);
  for (const { of } of all.values()) of("reliable").open();
  assert.deepEqual([...all.values()].map(({ of }) => said(of("reliable"))), [["3"], ["3"]]);
});

test("of whom a message is, the server says; who sends directly is who it is", () => {
  const { room, server, all } = meeting();
  const heard = [];
  room.on("data", ({ from, peer, data, topic, lossy }) => heard.push([from, peer?.id, data, topic, lossy]));
  room.on("data-gap", ({ missed }) => heard.push(missed));
  room.tend({ id: "server", data: server.data }, true);
  room.tend({ id: "bob", data: all.get("bob").data }, false);
  const ofServer = new Channel("twocan.data.reliable");
  server.data.adopt(ofServer);
  const ofBob = new Channel("twocan.data.lossy");
  all.get("bob").data.adopt(ofBob);
  ofServer.onmessage({ data: writeData("x", { names: ["ada"], topic: "t" }).buffer });
  ofBob.onmessage({ data: writeData("y", { names: ["ada"] }).buffer });
  ofServer.onmessage({ data: writeData("nobody's").buffer });
  ofServer.onmessage({ data: Uint8Array.of(2, 0, 0, 0, 3).buffer });
  assert.deepEqual(heard, [["ada", "ada", "x", "t", false], ["bob", "bob", "y", "", true], 3]);
});
