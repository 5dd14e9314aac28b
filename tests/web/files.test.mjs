// Files whose channels are cut, without connections: they go on from where they stopped, or end with a word on both sides.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { FileReceiver } from "../../web/sdk/file-receiver.js";
import { FileSender } from "../../web/sdk/file-sender.js";
import { IdleChannels } from "../../web/sdk/idle-channels.js";
import { RoomFiles } from "../../web/sdk/room-files.js";
import { RoomSeal } from "../../web/sdk/room-seal.js";

const SIZE = 12_000_000;
const WINDOW = 8 * 1024 * 1024;
const WAITS_MS = 120_000;

/** Waits for what is read, sealed and written, however busy the machine is. */
async function until(what) {
  for (const end = performance.now() + 60_000; !what(); await new Promise((resolve) => setImmediate(resolve))) {
    assert.ok(performance.now() < end, `never: ${what}`);
  }
}

/** Lets everything happen that waits for nothing but its turn. */
const settled = async () => {
  for (let turn = 0; turn < 30; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** One end of a channel; what is on its way when it is cut is lost. */
class Channel {
  readyState = "connecting";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onbufferedamountlow = null;
  constructor(protocol, world) {
    this.protocol = protocol;
    this.world = world;
  }
  send(data) {
    assert.equal(this.readyState, "open");
    const copy = typeof data === "string" ? data : data.slice().buffer;
    this.world.sent(copy);
    setImmediate(() => {
      if (this.other.readyState !== "open") return;
      this.other.onmessage?.({ data: copy });
      this.world.arrived(copy);
    });
  }
  close() {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    setImmediate(() => this.other.cut());
  }
  cut() {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    this.onclose?.({});
  }
}

/** Ada and Eve, who send each other files, and a network that can be taken away. */
function pair(t, { secret = null } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const people = {};
  const world = {
    isUp: true,
    /** Bytes in binary messages that were sent. */
    carried: 0,
    /** After so many more in such messages have arrived it is cut. */
    cutsAfter: Infinity,
    /** It is cut as such a message is sent. */
    cutsAt: "",
    sent(data) {
      if (data instanceof ArrayBuffer) world.carried += data.byteLength;
      else if (world.cutsAt !== "" && data.includes(`"type":"${world.cutsAt}"`)) world.cut();
    },
    arrived(data) {
      if (data instanceof ArrayBuffer) world.cutsAfter -= data.byteLength;
      if (world.cutsAfter <= 0) world.cut();
    },
    channels: [],
    cut() {
      world.isUp = false;
      world.cutsAfter = Infinity;
      world.cutsAt = "";
      for (const one of world.channels.splice(0)) one.cut();
    },
    async comeBack() {
      world.isUp = true;
      t.mock.timers.tick(1_000);
      await settled();
    },
    /** Somebody has another id from here on. */
    renames(person, id) {
      world.cut();
      delete people[person.id];
      person.id = id;
      person.files.seal?.begin(id);
      people[id] = person;
    },
  };
  const open = (from, to, init = {}) => {
    if (!world.isUp) throw new Error("the connection is closed");
    const [near, far] = [new Channel(init.protocol ?? "", world), new Channel(init.protocol ?? "", world)];
    [near.other, far.other] = [far, near];
    world.channels.push(near, far);
    setImmediate(() => {
      if (near.readyState !== "connecting") return;
      near.readyState = far.readyState = "open";
      to.files.offered(far, from.id);
      near.onopen?.({});
    });
    return near;
  };
  const person = (id) => {
    const own = { id, offers: [], unreadable: 0 };
    own.files = new RoomFiles((other) => people[other] && peer(own, people[other]));
    own.files.seal = secret && new RoomSeal(secret, "blue-otter");
    own.files.seal?.begin(id);
    own.files.on("file", (file) => own.offers.push(file));
    own.files.on("unreadable", () => (own.unreadable += 1));
    own.sends = (file) => own.files.send(file, peer(own, Object.values(people).find((other) => other !== own)));
    people[id] = own;
    return own;
  };
  const peer = (own, other) => ({ id: other.id, connection: {}, openChannel: (_label, init) => open(own, other, init) });
  return { world, ada: person("ada"), eve: person("eve") };
}

/** Keeps what it is given. */
function sink() {
  const kept = { chunks: [], isDiscarded: false };
  return Object.assign(kept, {
    write: async (chunk) => void kept.chunks.push(chunk.slice()),
    close: async () => {},
    discard: async () => void (kept.isDiscarded = true),
    file: async () => null,
    bytes: () => Buffer.concat(kept.chunks),
  });
}

const content = randomBytes(SIZE);
const plans = (bytes = content) => new File([bytes], "plans.bin", { type: "application/octet-stream", lastModified: 7 });

/** Offers the file, takes it, and cuts once so many bytes have come to Eve. */
async function cutAt(t, bytes, options, file = plans()) {
  const { world, ada, eve } = pair(t, options);
  const sender = ada.sends(file);
  await until(() => eve.offers.length === 1);
  const [receiver] = eve.offers;
  const place = sink();
  world.cutsAfter = bytes;
  receiver.accept(place);
  await until(() => sender.state === "interrupted" && receiver.state === "interrupted");
  await settled();
  assert.ok(receiver.received > bytes - 100_000 && receiver.received < bytes + 100_000, `cut at ${receiver.received}`);
  return { world, ada, eve, sender, receiver, place };
}

async function assertWhole({ world, eve, sender, receiver, place }) {
  await until(() => sender.isOver && receiver.isOver);
  assert.deepEqual([sender.state, sender.reason, receiver.state, receiver.reason], ["done", "", "done", ""]);
  assert.ok(place.bytes().equals(content), "what arrived is not what was sent");
  assert.ok(!place.isDiscarded);
  assert.deepEqual([eve.offers.length, eve.unreadable], [1, 0]);
  // What was on its way is sent again, and nothing else.
  assert.ok(world.carried < SIZE + WINDOW + 1_000_000, `${world.carried} bytes were sent of ${SIZE}`);
}

for (const [name, options] of [["in the clear", {}], ["sealed", { secret: randomBytes(32) }]]) {
  test(`a file that is cut goes on from what is stored, ${name}`, async (t) => {
    const all = await cutAt(t, 5_000_000, options);
    const stored = all.receiver.received;
    await all.world.comeBack();
    await until(() => all.receiver.received > stored);
    assert.ok(all.sender.received >= stored);
    await assertWhole(all);
  });
}

test("it goes on after each of several cuts, at the end as well", async (t) => {
  const all = await cutAt(t, 2_000_000);
  const { world, sender, receiver } = all;
  world.cutsAfter = 5_000_000;
  await world.comeBack();
  await until(() => !world.isUp && sender.state === "interrupted");
  // Nothing comes of the first attempts.
  t.mock.timers.tick(5_000);
  await settled();
  assert.equal(sender.state, "interrupted");
  for (const last of ["end", "done"]) {
    world.cutsAt = last;
    await world.comeBack();
    await until(() => !world.isUp);
    await settled();
    assert.equal(sender.state, "interrupted", `cut at its ${last}`);
  }
  assert.equal(receiver.state, "done");
  await world.comeBack();
  await until(() => sender.isOver);
  assert.equal(sender.state, "done");
  assert.ok(all.place.bytes().equals(content));
  assert.equal(all.eve.offers.length, 1);
});

test("what was offered when it was cut is offered still, and can be taken meanwhile", async (t) => {
  for (const isMeanwhile of [false, true]) {
    t.mock.timers.reset();
    const { world, ada, eve } = pair(t);
    const sender = ada.sends(plans());
    await until(() => eve.offers.length === 1);
    await settled();
    world.cut();
    await settled();
    const [receiver] = eve.offers;
    const place = sink();
    assert.deepEqual([sender.state, receiver.state], ["interrupted", "interrupted"]);
    if (isMeanwhile) receiver.accept(place);
    await world.comeBack();
    if (!isMeanwhile) {
      assert.deepEqual([sender.state, receiver.state], ["offered", "offered"]);
      receiver.accept(place);
    }
    await assertWhole({ world, eve, sender, receiver, place });
  }
});

test("who comes back under another id is known by the transfer: the sender", async (t) => {
  const all = await cutAt(t, 5_000_000, { secret: randomBytes(32) });
  all.eve.files.left("ada", true);
  all.world.renames(all.ada, "ada again");
  all.ada.files.joinedAnew();
  await all.world.comeBack();
  await assertWhole(all);
  assert.equal(all.receiver.peerId, "ada again");
});

test("who comes back under another id is known by the transfer: the receiver, who asks", async (t) => {
  const all = await cutAt(t, 5_000_000, { secret: randomBytes(32) });
  all.ada.files.left("eve", true);
  all.world.renames(all.eve, "eve again");
  all.eve.files.joinedAnew();
  await all.world.comeBack();
  await assertWhole(all);
  assert.equal(all.sender.peerId, "eve again");
});

test("who asks for what the other side does not know is told so", async (t) => {
  const { world, ada, eve, sender, receiver, place } = await cutAt(t, 1_000_000);
  sender.end("gone");
  world.renames(eve, "eve again");
  eve.files.joinedAnew();
  await world.comeBack();
  await until(() => receiver.isOver);
  assert.deepEqual([receiver.state, receiver.reason], ["cancelled", "the other side does not know it any more"]);
  assert.ok(place.isDiscarded);
  assert.equal(ada.offers.length, 0);
  const { length } = world.channels;
  for (let seconds = 0; seconds < 5; seconds += 1) await world.comeBack();
  assert.equal(world.channels.length, length, "nobody asks again");
});

test("who says that it has sent all before anything was accepted is refused", async (t) => {
  const { eve, receiver } = await cutAt(t, 1_000_000);
  receiver.cancel();
  let answer = null;
  const channel = { readyState: "open", send: (data) => (answer = JSON.parse(data)), close() {} };
  eve.files.offered(channel, "ada");
  channel.onmessage({ data: JSON.stringify({ type: "offer", id: "other", name: "empty", size: 0, mime: "", modified: 7, resumes: true }) });
  const hasty = eve.offers.at(-1);
  assert.equal(hasty.name, "empty");
  channel.onmessage({ data: JSON.stringify({ type: "end", sha256: "0".repeat(64) }) });
  assert.deepEqual([hasty.state, answer], ["failed", { type: "cancel", reason: "more than was agreed" }]);
});

test("who does not come back in time is waited for no longer, on both sides", async (t) => {
  const { world, sender, receiver, place } = await cutAt(t, 5_000_000);
  t.mock.timers.tick(WAITS_MS - 2_000);
  assert.deepEqual([sender.state, receiver.state], ["interrupted", "interrupted"]);
  t.mock.timers.tick(2_000);
  for (const one of [sender, receiver]) assert.deepEqual([one.state, one.reason], ["failed", "the connection did not come back"]);
  await settled();
  assert.ok(place.isDiscarded);
  await world.comeBack();
  assert.equal(world.channels.length, 0, "nobody looks any more");
});

test("who has left for good is not waited for", async (t) => {
  const { ada, eve, sender, receiver } = await cutAt(t, 5_000_000);
  ada.files.left("somebody else", false);
  eve.files.left("ada", true);
  assert.deepEqual([sender.state, receiver.state], ["interrupted", "interrupted"]);
  ada.files.left("eve", false);
  eve.files.close();
  assert.deepEqual([sender.state, sender.reason], ["failed", "the other side has left"]);
  assert.deepEqual([receiver.state, receiver.reason], ["failed", "connection lost"]);
});

test("what is cancelled during a cut is cancelled on the other side when that is back", async (t) => {
  for (const who of ["sender", "receiver"]) {
    t.mock.timers.reset();
    const all = await cutAt(t, 1_000_000);
    all[who].cancel("changed my mind");
    assert.equal(all[who].state, "cancelled");
    await all.world.comeBack();
    const other = who === "sender" ? all.receiver : all.sender;
    await until(() => other.isOver);
    assert.deepEqual([other.state, other.reason], ["cancelled", "changed my mind"], who);
    assert.ok(all.place.isDiscarded);
    assert.equal(all.eve.offers.length, 1);
    await settled();
    assert.ok(all.world.channels.every(({ readyState }) => readyState === "closed"), "nothing is left open");
  }
});

test("what would be another file is not joined to the first", async (t) => {
  // The sender's: it reads otherwise than before.
  let bytes = content;
  const file = Object.assign(plans(), { slice: (from, to) => new Blob([bytes.subarray(from, to)]) });
  const { world, sender, receiver, place } = await cutAt(t, 5_300_000, {}, file);
  bytes = randomBytes(SIZE);
  await world.comeBack();
  await until(() => sender.isOver && receiver.isOver);
  assert.deepEqual([sender.state, sender.reason], ["failed", "what arrived is not what was sent"]);
  assert.deepEqual([receiver.state, receiver.reason], ["cancelled", "what arrived is not what was sent"]);
  assert.ok(place.isDiscarded);

  // The receiver's: the offer of that id is another.
  for (const change of [{ name: "other.bin" }, { size: SIZE + 1 }, { modified: 8 }]) {
    t.mock.timers.reset();
    const all = await cutAt(t, 1_000_000);
    let answer = null;
    const channel = { readyState: "open", send: (data) => (answer = JSON.parse(data)), close() {} };
    const offer = { type: "offer", id: all.sender.id, name: "plans.bin", size: SIZE, mime: "", modified: 7, resumes: true, ...change };
    all.eve.files.offered(channel, "ada");
    channel.onmessage({ data: JSON.stringify(offer) });
    await settled();
    assert.deepEqual(answer, { type: "cancel", reason: "the file changed while it was sent" });
    assert.deepEqual([all.receiver.state, all.place.isDiscarded], ["failed", true]);
  }
});

test("a receiver that claims what it cannot have is not sent the rest", async (t) => {
  for (const claim of [{ received: SIZE }, { received: 1_000_000, sha256: "0".repeat(64) }]) {
    t.mock.timers.reset();
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const said = [];
    const channel = () => ({ readyState: "open", bufferedAmount: 0, protocol: "", send: (data) => said.push(data), close() {} });
    let newest = channel();
    const sender = new FileSender(newest, "eve", plans(), 65_536, () => (newest = channel()));
    newest.onmessage({ data: '{"type":"resumes"}' });
    newest.onmessage({ data: '{"type":"accept"}' });
    await until(() => said.filter((one) => typeof one !== "string").length >= 20);
    newest.onmessage({ data: '{"type":"progress","received":900000}' });
    newest.onclose({});
    assert.equal(sender.state, "interrupted");
    t.mock.timers.tick(1_000);
    assert.equal(JSON.parse(said.at(-1)).type, "offer");
    const count = said.length;
    newest.onmessage({ data: JSON.stringify({ type: "accept", sha256: "1".repeat(64), ...claim }) });
    await until(() => sender.isOver);
    assert.deepEqual([sender.state, sender.reason], ["failed", "what arrived is not what was sent"]);
    assert.deepEqual(said.slice(count), ['{"type":"cancel","reason":"what arrived is not what was sent"}']);
  }
});

test("with a side that does not go on after a cut it ends at once", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const channel = { readyState: "open", bufferedAmount: 0, send() {}, close() {} };
  const sender = new FileSender(channel, "eve", plans(), 65_536, () => assert.fail("it was offered again"));
  channel.onmessage({ data: '{"type":"accept"}' });
  channel.onclose({});
  assert.deepEqual([sender.state, sender.reason], ["failed", "connection lost"]);
  const said = [];
  const far = { readyState: "open", send: (data) => said.push(data), close() {} };
  const receiver = new FileReceiver(far, "ada", { type: "offer", id: "a", name: "b", size: 1, mime: "", modified: 0, resumes: false });
  far.onclose({});
  assert.deepEqual([receiver.state, said], ["failed", []]);
});

test("channels whose connection is let go of are told, though a browser says nothing", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const idle = new IdleChannels(() => {});
  const channels = [new EventTarget(), new EventTarget()];
  let closed = 0;
  for (const one of channels) idle.add(one).addEventListener("close", () => (closed += 1));
  idle.lose();
  idle.lose();
  assert.deepEqual([closed, idle.areNone], [2, true]);
});
