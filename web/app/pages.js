/**
 * Which tiles are on the stage at once: a pure function of its size and who is there.
 *
 * @typedef {import("./arrange.js").Seat} Seat
 */
import { stars, strip } from "./arrange.js";

/** The least size at which somebody can be recognised, in a grid and in the strip beside who is large. */
const TILE = { width: 144, height: 108 };
const SMALL_TILE = { width: 100, height: 60 };
/** Pictures at once, though there were room for more: each costs the network, and this device's decoder. */
const PAGE_MAX = 36;
/** What turns the pages takes this much of the stage, in CSS pixels. */
export const PAGER_HEIGHT = 48;

/**
 * Shares the tiles among pages. Who is large, and one's own tile, is on each.
 *
 * @param {Seat[]} seats in the order they are shown
 * @param {Parameters<typeof import("./arrange.js").arrange>[1]} stage
 * @returns {{pages: Seat[][], height: number}} at least one page, and the height that is left for tiles
 */
export function paginate(seats, stage) {
  const whole = split(seats, stage);
  if (whole.length === 1) return { pages: whole, height: stage.height };
  const height = stage.height - PAGER_HEIGHT;
  return { pages: split(seats, { ...stage, height }), height };
}

/** @param {Seat[]} seats @param {Parameters<typeof import("./arrange.js").arrange>[1]} stage @returns {Seat[][]} */
function split(seats, stage) {
  const { gap = 10, layout = "auto", pinned = null, speaker = null } = stage;
  const large = stars(seats, { layout, pinned, speaker });
  const stays = (/** @type {Seat} */ seat) => seat.role === "self" || large.includes(seat);
  const turning = seats.filter((seat) => !stays(seat));
  const beside = seats.filter((seat) => stays(seat) && !large.includes(seat)).length;
  const area = large.length > 0 ? strip({ ...stage, gap, layout }).strip : stage;
  const least = large.length > 0 ? SMALL_TILE : TILE;
  const most = Math.max(1, Math.min(PAGE_MAX, along(area.width, least.width, gap) * along(area.height, least.height, gap)) - beside);
  if (turning.length <= most) return [seats];
  // As many on each as on any other, so that the last is no single tile.
  const count = Math.ceil(turning.length / most);
  return Array.from({ length: count }, (_, page) => {
    const [from, to] = [page, page + 1].map((one) => Math.round((one * turning.length) / count));
    return seats.filter((seat) => stays(seat) || turning.slice(from, to).includes(seat));
  });
}

/** How many tiles fit one way. @param {number} length @param {number} least @param {number} gap */
function along(length, least, gap) {
  return Math.max(1, Math.floor((length + gap) / (least + gap)));
}
