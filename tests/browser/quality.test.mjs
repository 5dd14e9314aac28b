// Whose network is bad, in bars and words; a report of a call; pictures in windows of their own; what a shared screen favours.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { assertAccessible } from "./looks.mjs";
import { PROBE_EACH, SMALL, assertQuiet, joinRoom, roomFor, scratch, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";
import { startWay } from "./way.mjs";

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
  const way = await startWay(server.url);
  t.after(() => way.close());
  const [ada, grace] = [await browser.newPage({ width: 900, height: 640, init: PROBE_EACH + SMALL }), await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL })];
  await joinRoom(ada, server.url, room, "Ada Augusta");
  await joinRoom(grace, way.url, room, "Grace Brewster");
  await seesPicturesOf(ada, 1);

  const tile = (role) => ada.evaluate((role) => {
    const tile = document.querySelector(`.tile.${role}`);
    const bars = tile.querySelector("signal-bars");
    return { label: tile.getAttribute("aria-label"), bars: bars.hidden ? null : bars.dataset.bars, title: bars.title };
  }, role);
  const note = (words) => grace.until("a note about one's own", (words) => new RegExp(words).test(document.querySelector("call-toasts").innerText), words.source, 30_000);
  assert.deepEqual((await tile("person")).bars, null);
  // Much of what Grace sends is lost on its way, and the server says so to both.
  way.up.conditions = { loss: 0.22 };
  const lossy = await until("one bar on the tile of the other", async () => {
    const now = await tile("person");
    return now.bars === "1" && now;
  });
  t.diagnostic(lossy.title);
  assert.equal(lossy.label, "Grace Brewster, weak connection");
  const lost = Number(/^Weak connection: loses (\d+) % of packets$/.exec(lossy.title)?.[1]);
  assert.ok(lost >= 12 && lost <= 35, lossy.title);
  assert.equal((await tile("self")).bars, null, "Ada's own is as good as before");
  await note(/Your connection is weak: it loses \d+ % of packets\./);
  for (const colorScheme of ["light", "dark"]) {
    await ada.page.emulateMedia({ colorScheme });
    await assertAccessible(ada, `one bar, ${colorScheme}`);
  }
  await ada.click(".people-count");
  await ada.visible("#people-list person-row");
  await assertAccessible(ada, "one bar in the list of people");
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/quality.png`);
  await ada.evaluate(() => document.querySelector("#people-list").hidePopover());
  way.up.conditions = {};
  await until("no bars where all is well", async () => (await tile("person")).bars === null);

  // A long way loses nothing, and is late.
  for (const lane of [way.up, way.down]) lane.conditions = { delayMs: 700, queueMs: 5_000 };
  await until("that it is late", async () => /^Weak connection: answers after 1\.\d s$/.test((await tile("person")).title));
  await note(/Your connection is weak: it answers after 1\.\d s\./);
  for (const lane of [way.up, way.down]) lane.conditions = {};
  await until("no bars again", async () => (await tile("person")).bars === null);

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
