// Which tiles are on the stage at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { arrange } from "../../web/app/arrange.js";
import { PAGER_HEIGHT, paginate } from "../../web/app/pages.js";

const people = (count) => Array.from({ length: count }, (_, index) => ({ id: `p${index}`, role: "person" }));
const self = { id: "self", role: "self" };
const screen = { id: "s", role: "screen" };
const STAGES = [[1248, 668], [348, 560], [348, 270], [640, 300], [1900, 1000], [100, 60]];

test("everybody is on one page, oneself on all, and nobody on too many", () => {
  for (const [width, height] of STAGES) {
    for (const layout of ["auto", "grid", "speaker", "sidebar"]) {
      for (const count of [0, 1, 2, 3, 7, 25, 49, 200]) {
        const seats = [...people(count), self];
        const { pages, height: left } = paginate(seats, { width, height, layout });
        const where = `${count} on ${width}×${height}, ${layout}`;
        assert.equal(left, pages.length > 1 ? height - PAGER_HEIGHT : height, where);
        assert.ok(pages.every((page) => page.at(-1) === self), where);
        const large = pages.length > 1 && (layout === "speaker" || layout === "sidebar") ? 1 : 0;
        const turning = pages.flatMap((page) => page.slice(large, -1));
        assert.deepEqual(turning, seats.slice(large, -1), where);
        const sizes = pages.map((page) => page.length);
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1 && Math.max(...sizes) <= 37, where);
      }
    }
  }
});

test("on a page that turns, tiles are of a readable size", () => {
  for (const [width, height] of STAGES.slice(0, 5)) {
    for (const count of [10, 40, 200]) {
      const stage = { width, height, layout: "grid" };
      const { pages, height: left } = paginate([...people(count), self], stage);
      for (const page of pages) {
        for (const place of arrange(page, { ...stage, height: left }).values()) {
          assert.ok(place.width >= 130 && place.height >= 90, `${count} on ${width}×${height}: ${Math.round(place.width)}×${Math.round(place.height)}`);
          assert.ok(place.y + place.height <= left + 0.5);
        }
      }
    }
  }
});

test("who is large, pinned or shared is on every page", () => {
  const stage = { width: 1248, height: 668 };
  const seats = [screen, ...people(60), self];
  const { pages } = paginate(seats, stage);
  assert.ok(pages.length > 1 && pages.every((page) => page[0] === screen));
  const pinned = paginate(seats, { ...stage, pinned: "p40" }).pages;
  assert.ok(pinned.length > 1 && pinned.every((page) => page.some(({ id }) => id === "p40")));
  const speaker = paginate([...people(60), self], { ...stage, layout: "speaker", speaker: "p59" }).pages;
  assert.ok(speaker.length > 1 && speaker.every((page) => page.some(({ id }) => id === "p59")));
  // Without it the screen turns with the others.
  assert.ok(paginate(seats, { ...stage, layout: "grid" }).pages.slice(1).every((page) => !page.includes(screen)));
});
