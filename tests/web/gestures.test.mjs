// Raised hands, reactions and what is said of them, without a browser.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Gathered, listed } from "../../web/app/gathered.js";
import { Emitter } from "../../web/sdk/emitter.js";
import { Gestures, REACTIONS } from "../../web/sdk/gestures.js";

/** A room with some people, what the server is asked, and what is told. */
function room(...ids) {
  const own = Object.assign(new Emitter(), {
    peers: new Map(ids.map((id) => [id, { id }])),
    order: { isBase: false, mayTalk: true },
  });
  const asked = [];
  const told = [];
  const gestures = new Gestures(own, async (event, data) => void asked.push([event, data]));
  gestures.on("hand", ({ peer, raised }) => told.push([peer?.id ?? null, raised]));
  gestures.on("reaction", ({ peer, emoji }) => told.push([peer?.id ?? null, emoji]));
  gestures.begin("me");
  const hand = (id, number) => gestures.told({ event: "hand", data: { peer_id: id, raised: number !== undefined, number }, from: null, to: null });
  return { own, asked, told, gestures, hand };
}

test("hands stand in the order of the server, whoever is met when", () => {
  const { own, told, gestures, hand } = room("a", "b", "c");
  gestures.met({ id: "c", hand: 7, tracks: [], protocol: "twocan.v1" });
  gestures.met({ id: "b", tracks: [], protocol: "base" });
  hand("me", 10);
  hand("a", 9);
  assert.deepEqual(gestures.queue, ["c", "a", "me"]);
  assert.deepEqual([gestures.placeOf(), gestures.placeOf("c"), gestures.placeOf("b")], [3, 1, 0]);
  hand("c");
  hand("c", 11);
  assert.deepEqual(gestures.queue, ["a", "me", "c"]);
  hand("stranger", 1);
  assert.deepEqual(gestures.queue, ["a", "me", "c"], "nobody of that id is there");
  own.peers.delete("a");
  own.emit("peer-left", { id: "a" });
  assert.equal(gestures.placeOf(), 1);
  assert.deepEqual(told, [[null, true], ["a", true], ["c", false], ["c", true]]);
});

test("a hand that was up is raised again in a new session, and in no other case", () => {
  const { asked, gestures, hand } = room("a");
  hand("a", 1);
  gestures.begin("me-again");
  assert.deepEqual(asked, []);
  hand("me-again", 1);
  gestures.begin("me-once-more");
  assert.deepEqual(asked, [["hand", { raised: true }]]);
  assert.deepEqual(gestures.queue, [], "until the server says so");
});

test("only reactions that there are, and of who is there", async () => {
  const { own, asked, told, gestures } = room("a");
  const react = (from, emoji) => gestures.told({ event: "reaction", data: { emoji }, from, to: "all" });
  react("a", "👏");
  react("a", "💣");
  react("a", { toString: () => "👏" });
  react("stranger", "👏");
  react(null, "👏");
  gestures.told({ event: "reaction", data: null, from: "a", to: "all" });
  assert.deepEqual(told, [["a", "👏"]]);
  await gestures.react("🎉");
  assert.deepEqual(told.at(-1), [null, "🎉"]);
  assert.deepEqual(asked, [["reaction", { emoji: "🎉" }]]);
  own.order.isBase = true;
  await gestures.react("🎉");
  await gestures.raise(true);
  assert.equal(asked.length, 1, "a base server would pass it on to whoever knows nothing of it");
  assert.equal(gestures.isPossible, false);
});

test("the reactions of the page are those of the schema", () => {
  const schema = JSON.parse(readFileSync(new URL("../../docs/signaling/reaction.schema.json", import.meta.url), "utf8"));
  assert.deepEqual([...REACTIONS].sort(), [...schema.properties.emoji.enum].sort());
});

test("what many do at once is said in one go", () => {
  const said = [];
  const timers = [];
  const gathered = new Gathered((all) => said.push(all), 1, (run) => timers.push(run));
  const passes = () => timers.shift()();
  gathered.add("Applause", "Ada");
  assert.deepEqual(said, [[["Applause", ["Ada"]]]], "the first at once");
  for (const who of ["Bob", "Bob", "Eve"]) gathered.add("Applause", who);
  gathered.add("Heart", "Bob");
  assert.equal(said.length, 1);
  passes();
  assert.deepEqual(said[1], [["Applause", ["Bob", "Eve"]], ["Heart", ["Bob"]]]);
  passes();
  assert.equal(timers.length, 0, "nothing more, and no timer");
  gathered.add("Heart", "Ada");
  assert.equal(said.length, 3);
  gathered.add("Heart", "Bob");
  gathered.stop();
  passes();
  assert.equal(said.length, 3);
  assert.deepEqual([["Ada"], ["Ada", "Bob"], ["A", "B", "C"], ["A", "B", "C", "D"]].map(listed), ["Ada", "Ada and Bob", "A, B and C", "A, B and 2 others"]);
});
