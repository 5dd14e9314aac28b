// Whose network is bad, and what a report keeps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Qualities, rate } from "../../web/sdk/qualities.js";
import { barsOf, compare, ratingOf, troubleOf } from "../../web/app/quality-feed.js";

test("a call is rated as people rate it", () => {
  assert.equal(rate(0, 0).score, 1);
  assert.equal(barsOf(rate(0.02, 80)), 3);
  assert.equal(barsOf(rate(0.07, 80)), 2);
  assert.equal(barsOf(rate(0.2, 80)), 1);
  assert.equal(barsOf(rate(0, 1_500)), 1);
  assert.equal(barsOf(null), 3);
  assert.equal(troubleOf(rate(0, 10)), "");
  assert.equal(troubleOf(rate(0.2, 80)), "loses 20 % of packets");
  assert.equal(troubleOf(rate(0.01, 1_500)), "answers after 1.5 s");
  assert.equal(ratingOf(rate(0.2, 80)), "Weak connection");
});

test("what a server says of connections is taken as far as it makes sense", () => {
  const qualities = new Qualities();
  const isThere = (id) => id === "a" || id === "b";
  for (const nonsense of [null, {}, { participants: 3 }, { participants: [null, { peer_id: "a" }, { peer_id: "a", score: 7 }, { peer_id: 3, score: 1 }] }]) assert.deepEqual(qualities.told(nonsense, isThere), []);
  const participants = [{ peer_id: "a", score: 0.5, loss: 9, rtt_ms: "x" }, { peer_id: "b", score: 1, loss: 0.1, rtt_ms: 7 }, { peer_id: "gone", score: 0.1 }];
  assert.deepEqual(qualities.told({ participants }, isThere), ["a", "b"]);
  assert.deepEqual(qualities.of("a"), { score: 0.5, loss: 0, rttMs: null });
  assert.deepEqual(qualities.of("b"), { score: 1, loss: 0.1, rttMs: 7 });
  assert.equal(qualities.of("gone"), null);
  qualities.forget("a");
  assert.equal(qualities.of("a"), null);
});

/** A reading of a connection that loses so much each way. */
const reading = (id, lostIn, lostOut, rttMs = 40) => ({
  id,
  stats: {
    transport: { rttMs },
    tracks: [
      { direction: "in", bitrate: 1000, loss: lostIn, mid: "" },
      { direction: "out", bitrate: 1000, loss: lostOut, mid: "" },
    ],
  },
});
const room = { peers: new Map() };
const found = (readings) => [...compare(readings, room).keys()].sort();

test("in a mesh, what is bad towards everybody is one's own", () => {
  assert.deepEqual(found([reading("a", 0, 0), reading("b", 0, 0.01)]), []);
  assert.deepEqual(found([reading("a", 0.2, 0), reading("b", 0, 0.01)]), ["a"]);
  assert.deepEqual(found([reading("a", 0.2, 0), reading("b", 0, 0.2)]), ["self"]);
  assert.deepEqual(found([reading("a", 0.1, 0), reading("b", 0, 0.4), reading("c", 0.1, 0)]), ["b", "self"]);
  // Of two, each side knows what it gets.
  assert.deepEqual(found([reading("a", 0.2, 0)]), ["a"]);
  assert.deepEqual(found([reading("a", 0, 0.2)]), ["self"]);
  assert.deepEqual(found([]), []);
});
