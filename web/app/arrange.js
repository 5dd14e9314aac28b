/**
 * Where the tiles go: a pure function of the stage's size and who is there.
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Rect
 * @typedef {"person" | "self" | "screen"} Role
 * @typedef {{id: string, role: Role}} Seat
 * @typedef {Rect & {floating: boolean}} Place
 * @typedef {"auto" | "grid" | "speaker" | "sidebar"} Layout
 */
import { t } from "./words.js";

/** As a person names them. @type {[Layout, string][]} */
export const LAYOUTS = [
  ["auto", t("Automatic")],
  ["grid", t("Grid")],
  ["speaker", t("Speaker ^layout")],
  ["sidebar", t("Sidebar")],
];

/** A picture is cut at most to these shapes (width / height). */
const NARROWEST = 0.75;
const WIDEST = 16 / 9;
/** The strip of people beside a shared screen. */
const STRIP_WIDTH = 220;
const STRIP_HEIGHT = 110;
/** One's own picture, floating over the other person's: its share of the stage and its limits. */
const FLOATING_SHARE = 0.2;
const FLOATING_MIN = 104;
const FLOATING_MAX = 240;

/**
 * Who is shown large beside the others, if anybody: who is pinned, else shared screens, else, where the layout has one
 * place for it, who speaks.
 *
 * @param {Seat[]} seats
 * @param {{layout: Layout, pinned: string | null, speaker: string | null}} wishes ids
 * @returns {Seat[]}
 */
export function stars(seats, { layout, pinned, speaker }) {
  const one = seats.filter(({ id }) => id === pinned);
  if (one.length > 0) return one;
  const screens = seats.filter(({ role }) => role === "screen");
  if (layout === "grid") return [];
  if (screens.length > 0 || layout === "auto") return screens;
  const speaking = seats.filter(({ id, role }) => id === speaker && role === "person");
  const first = seats.filter(({ role }) => role === "person");
  return speaking.length > 0 ? speaking : first.slice(0, 1);
}

/**
 * Where who is large is, and the strip of the others beside or below.
 *
 * @param {{width: number, height: number, gap: number, layout: Layout}} stage
 * @returns {{main: Rect, strip: Rect}}
 */
export function strip({ width, height, gap, layout }) {
  const isBeside = width >= 700 && layout !== "speaker";
  if (isBeside) {
    return { main: { x: 0, y: 0, width: width - STRIP_WIDTH - gap, height }, strip: { x: width - STRIP_WIDTH, y: 0, width: STRIP_WIDTH, height } };
  }
  return { main: { x: 0, y: 0, width, height: height - STRIP_HEIGHT - gap }, strip: { x: 0, y: height - STRIP_HEIGHT, width, height: STRIP_HEIGHT } };
}

/**
 * @param {Seat[]} seats in the order they are shown
 * @param {{width: number, height: number, gap?: number, layout?: Layout, pinned?: string | null, speaker?: string | null}} stage
 *   `pinned` and `speaker` are ids
 * @returns {Map<string, Place>}
 */
export function arrange(seats, { width, height, gap = 10, layout = "auto", pinned = null, speaker = null }) {
  const whole = { x: 0, y: 0, width, height };
  const large = stars(seats, { layout, pinned, speaker });
  const others = seats.filter((seat) => !large.includes(seat));
  const self = others.find(({ role }) => role === "self");

  // One other person alone is large in any layout, with one's own picture over it.
  const isPair = layout !== "grid" && self && seats.length === 2;
  if (large.length > 0 && !(isPair && large[0].role === "person")) {
    if (others.length === 0) return grid(large, whole, gap, { narrowest: 0.5, widest: 3 });
    const areas = strip({ width, height, gap, layout });
    const shapes = { narrowest: 0.5, widest: 3 };
    return new Map([...grid(large, areas.main, gap, shapes), ...grid(others, areas.strip, gap, { narrowest: 1.2, widest: WIDEST })]);
  }
  if (isPair) {
    const other = seats.filter((seat) => seat !== self);
    const own = Math.min(FLOATING_MAX, Math.max(FLOATING_MIN, Math.max(width, height) * FLOATING_SHARE));
    const isTall = height > width;
    const size = isTall ? { width: own * 0.75, height: own } : { width: own, height: (own * 9) / 16 };
    const place = { x: width - size.width - gap, y: height - size.height - gap, ...size, floating: true };
    return new Map([...grid(other, whole, gap, { narrowest: 0.5, widest: 2.2 }), [self.id, place]]);
  }
  return grid(seats, whole, gap);
}

/**
 * The rows and columns that show the most of everyone; the last row is centred.
 *
 * @param {Seat[]} seats
 * @param {Rect} area
 * @param {number} gap
 * @param {{narrowest: number, widest: number}} [shapes]
 * @returns {Map<string, Place>}
 */
function grid(seats, area, gap, shapes = { narrowest: NARROWEST, widest: WIDEST }) {
  /** @type {Map<string, Place>} */
  const places = new Map();
  const count = seats.length;
  let best = { columns: 1, width: 0, height: 0, score: -1 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (area.width - gap * (columns - 1)) / columns;
    const cellHeight = (area.height - gap * (rows - 1)) / rows;
    if (cellWidth <= 0 || cellHeight <= 0) continue;
    const width = Math.min(cellWidth, cellHeight * shapes.widest);
    const height = Math.min(cellHeight, width / shapes.narrowest);
    // What is seen of a wide picture in a tall tile is only its middle.
    const score = width * Math.min(height, (width / WIDEST) * 1.6);
    if (score > best.score + 1) best = { columns, width, height, score };
  }
  const rows = Math.ceil(count / best.columns);
  const top = area.y + (area.height - rows * best.height - (rows - 1) * gap) / 2;
  seats.forEach((seat, index) => {
    const row = Math.floor(index / best.columns);
    const inRow = row === rows - 1 ? count - row * best.columns : best.columns;
    const left = area.x + (area.width - inRow * best.width - (inRow - 1) * gap) / 2;
    places.set(seat.id, {
      x: left + (index % best.columns) * (best.width + gap),
      y: top + row * (best.height + gap),
      width: best.width,
      height: best.height,
      floating: false,
    });
  });
  return places;
}
