// The qualities of a line that was made before anybody knew what would be sent on it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Resting, suit } from "../../web/sdk/resting.js";

const quality = (rid, scaleResolutionDownBy, maxBitrate) => ({ rid, scaleResolutionDownBy, maxBitrate });
/** Of pictures of three sizes. */
const LARGE = [quality("q", 4, 150_000), quality("h", 2, 500_000), quality("f", 1, 1_700_000)];
const MIDDLE = [quality("h", 2, 250_000), quality("f", 1, 1_000_000)];
const SMALL = [quality("f", 1, 500_000)];

const line = (made) => made.map((own) => ({ ...own, active: true }));
const sent = (encodings) => encodings.filter(({ active }) => active).map(({ rid, scaleResolutionDownBy, maxBitrate }) => [rid, scaleResolutionDownBy, maxBitrate]);

test("a small picture is sent in its full size on a line that was made for a large one", () => {
  const encodings = line(LARGE);
  assert.ok(suit(encodings, MIDDLE));
  // Engines leave out the last of those that there are.
  assert.deepEqual(sent(encodings), [["q", 2, 250_000], ["h", 1, 1_000_000]]);
  assert.ok(suit(encodings, SMALL));
  assert.deepEqual(sent(encodings), [["q", 1, 500_000]]);
  assert.ok(suit(encodings, LARGE));
  assert.deepEqual(sent(encodings), LARGE.map(Object.values));
});

test("a large picture is sent in the larger of its qualities on a line that has fewer", () => {
  const encodings = line(MIDDLE);
  assert.ok(suit(encodings, LARGE));
  assert.deepEqual(sent(encodings), [["h", 2, 500_000], ["f", 1, 1_700_000]]);
  const one = line(SMALL);
  assert.ok(suit(one, LARGE));
  assert.deepEqual(sent(one), [["f", 1, 1_700_000]]);
});

test("what is as it should be is not touched", () => {
  for (const made of [LARGE, MIDDLE, SMALL]) assert.equal(suit(line(made), made), false);
  // Layers within one stream have their sizes in the stream.
  assert.equal(suit([{ active: true, maxBitrate: 1_700_000 }], [{ scalabilityMode: "L3T3_KEY", maxBitrate: 1_700_000 }]), false);
});

test("what nobody has a use for rests, whatever the picture", () => {
  const encodings = line(LARGE);
  const said = { stream: "s", active: true, rids: ["q"] };
  assert.ok(suit(encodings, undefined, said));
  assert.deepEqual(sent(encodings), [["q", 4, 150_000]]);
  assert.ok(suit(encodings, SMALL, said));
  assert.deepEqual(sent(encodings), [["q", 1, 500_000]]);
  // All have a use, and the picture has no more.
  assert.ok(suit(encodings, MIDDLE, { ...said, rids: ["q", "h", "f"] }));
  assert.deepEqual(sent(encodings), [["q", 2, 250_000], ["h", 1, 1_000_000]]);
  const whole = [{ active: true }];
  assert.ok(suit(whole, undefined, { stream: "s", active: false, rids: [] }));
  assert.equal(whole[0].active, false);
});

test("a camera that is changed keeps what the server said, and the other way round", async () => {
  let encodings = line(LARGE);
  let changes = 0;
  const sender = {
    getParameters: () => ({ encodings: encodings.map((own) => ({ ...own })) }),
    setParameters: async (parameters) => {
      changes += 1;
      encodings = parameters.encodings;
    },
  };
  const local = { sources: () => ["camera"], get: () => ({ publication: { stream: "s" } }) };
  const resting = new Resting();
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  resting.apply(local, () => sender, { stream: "s", active: true, rids: ["q"] });
  await settled();
  resting.follow(sender, MIDDLE);
  await settled();
  assert.deepEqual(sent(encodings), [["q", 2, 250_000]]);
  resting.apply(local, () => sender, { stream: "s", active: true, rids: ["q", "h", "f"] });
  await settled();
  assert.deepEqual(sent(encodings), [["q", 2, 250_000], ["h", 1, 1_000_000]]);
  resting.follow(sender, MIDDLE);
  await settled();
  assert.equal(changes, 3, "what is as it should be is not set again");
  // Another line knows nothing of it.
  const other = { ...sender };
  resting.follow(other, LARGE);
  await settled();
  assert.deepEqual(sent(encodings), LARGE.map(Object.values));
});
