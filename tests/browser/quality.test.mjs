// Whose network is bad, in bars and words; a report of a call; pictures in windows of their own; what a shared screen favours.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, joinRoom, roomFor, scratch, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";

let server;
before(async () => {
  if (!skip) server = await startServer("--topology sfu");
});
after(() => server?.close());

test("the page says whose network is bad, and saves a report without names and addresses", { skip, timeout: 180_000 }, async (t) => {
  const { folder } = scratch(t);
  const browser = await launch("chromium", { downloads: folder });
  t.after(() => browser.close());
  const room = roomFor("quality");
  const [ada, grace] = [await browser.newPage({ width: 900, height: 640, init: PROBE_EACH + SMALL }), await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL })];
  await joinRoom(ada, server.url, room, "Ada Augusta");
  await joinRoom(grace, server.url, room, "Grace Brewster");
  await seesPicturesOf(ada, 1);

  // As it comes from the server when that loses much of what somebody sends: see the scenarios.
  const told = (whose, data) =>
    ada.evaluate(
      ({ whose, data }) => {
        const { room } = document.querySelector("call-view");
        const [peer] = room.peers.values();
        const id = whose === "self" ? room.id : peer.id;
        for (const known of room.quality.told({ participants: [{ peer_id: id, ...data }] }, (own) => own === id)) room.emit("quality", { peer: known === room.id ? null : peer });
      },
      { whose, data },
    );
  const tile = (role) => ada.evaluate((role) => {
    const tile = document.querySelector(`.tile.${role}`);
    const bars = tile.querySelector("signal-bars");
    return { label: tile.getAttribute("aria-label"), bars: bars.hidden ? null : bars.dataset.bars, title: bars.title };
  }, role);
  assert.deepEqual((await tile("person")).bars, null);
  await told("peer", { score: 0.4, loss: 0.18, rtt_ms: 60 });
  await until("bars on the tile of the other", async () => (await tile("person")).bars === "1");
  assert.deepEqual(await tile("person"), { label: "Grace Brewster, weak connection", bars: "1", title: "Weak connection: loses 18 % of packets" });
  assert.equal((await tile("self")).bars, null);
  await told("self", { score: 0.3, loss: 0.01, rtt_ms: 1400 });
  await ada.until("a note about one's own", () => document.querySelector("call-toasts").innerText.includes("Your connection is weak: it answers after 1.4 s."));
  await ada.click(".people-count");
  await ada.visible("#people-list person-row");
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/quality.png`);
  await ada.evaluate(() => document.querySelector("#people-list").hidePopover());
  await told("peer", { score: 1, loss: 0 });
  await until("no bars where all is well", async () => (await tile("person")).bars === null);

  // A reading is taken every three seconds.
  const saved = new Set();
  let text = "";
  await until("a report with a reading", async () => {
    await ada.click('[data-action="more"]');
    await ada.click(".menu-item[data-action='report']");
    await until("another report", () => {
      const fresh = readdirSync(folder).filter((name) => /^twocan-report-.*\.json$/.test(name) && !saved.has(name));
      for (const name of fresh) {
        saved.add(name);
        text = readFileSync(join(folder, name), "utf8");
      }
      return fresh.length > 0;
    });
    return text.includes('"direction": "in"');
  }, 30_000);
  const report = JSON.parse(text);
  assert.equal(report.room.topology, "sfu");
  assert.ok(report.events.some(({ what, of }) => what === "joined" && of === "participant 1"), text.slice(0, 2_000));
  assert.ok(report.readings.at(-1).connections[0].tracks.length > 0);
  assert.ok(report.connections.some(({ of, stats }) => of && stats.some(({ type }) => type === "candidate-pair")));
  assert.doesNotMatch(text, /Ada|Grace|Brewster|127\.0\.0\.1|\.local|usernameFragment|fingerprint"|[0-9A-F]{2}(:[0-9A-F]{2}){9}/);
  assertQuiet(ada, grace);
});

test("a picture goes to a window of its own and back", { skip, timeout: 120_000 }, async (t) => {
  const browser = await launch("chromium");
  t.after(() => browser.close());
  const room = roomFor("apart");
  const [ada, grace] = [await browser.newPage({ width: 900, height: 640, init: PROBE_EACH + SMALL }), await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL })];
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(grace, server.url, room, "Grace");
  await seesPicturesOf(ada, 1);
  const isPossible = await ada.evaluate(() => document.pictureInPictureEnabled);
  const shown = await ada.evaluate(() => !document.querySelector(".tile.person .tile-apart").hidden);
  assert.equal(shown, isPossible);
  if (!isPossible) return t.skip("this browser has no picture-in-picture");
  await ada.page.hover(".tile.person");
  await ada.click(".tile.person .tile-apart");
  await ada.until("the picture in its window", () => document.pictureInPictureElement?.closest(".tile.person") != null);
  await ada.click(".tile.person .tile-apart");
  await ada.until("the picture in its tile", () => document.pictureInPictureElement === null);
  assertQuiet(ada, grace);
});
