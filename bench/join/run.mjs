#!/usr/bin/env node
// How long it takes from pressing "Join" until the pictures of the others are shown: rooms of four in Chromium whose
// media the server forwards, all on this machine.
//
//   node bench/join/run.mjs [--joins N] [--people N] [--topology sfu|mesh|auto] [--size small|default]
//
// Three are in the room for good; the fourth joins, sees all of them, leaves, and joins again as somebody new. `first`
// is when the first picture of anybody is shown, `all` when there is one of everybody. The browser, its cameras
// and its encoders use the same cores as the server: `small` has cameras of 320x180 at 10 frames a second, so that
// they are not what is measured.
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const options = { joins: 40, people: 4, topology: "sfu", size: "small" };
const words = process.argv.slice(2);
while (words.length > 0) {
  const [word, value] = words.splice(0, 2);
  const name = word.replace(/^--/, "");
  if (!(name in options) || value === undefined) {
    console.error(`options: ${Object.keys(options).map((key) => `--${key}`).join(", ")}, each with a value`);
    process.exit(2);
  }
  options[name] = typeof options[name] === "number" ? Number(value) : value;
}

process.env.TWOCAN_SERVER ??= `${join(ROOT, "target/release/twocan")} serve --http 127.0.0.1:0 --stun 127.0.0.1:0`;
const tests = join(ROOT, "tests/browser");
const { launch } = await import(join(tests, "driver.mjs"));
const { startServer } = await import(join(tests, "server.mjs"));
const { SMALL, joinRoom, roomFor } = await import(join(tests, "meeting.mjs"));

/** Notes when "Join" is pressed, and when each picture of somebody else is shown first. */
const CLOCK = `
  globalThis.shown = [];
  addEventListener("click", (event) => event.target.closest?.("#join") && (globalThis.pressed = performance.now()), true);
  const seen = new WeakSet();
  const look = () => {
    for (const video of document.querySelectorAll(".tile.person video")) {
      if (seen.has(video)) continue;
      seen.add(video);
      video.requestVideoFrameCallback(() => globalThis.shown.push(performance.now() - globalThis.pressed));
    }
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true });
`;

const server = await startServer(`--topology ${options.topology}`);
const chromium = await launch("chromium");
const init = (options.size === "small" ? SMALL : "") + CLOCK;
const others = options.people - 1;
const room = roomFor("joins");
for (let index = 0; index < others; index += 1) {
  const page = await chromium.newPage({ width: 640, height: 480, init });
  await joinRoom(page, server.url, room, `Person ${index + 1}`);
}
const times = [];
for (let index = 0; index <= options.joins; index += 1) {
  const page = await chromium.newPage({ width: 640, height: 480, init });
  await joinRoom(page, server.url, room, `Guest ${index}`);
  await page.until("everybody's picture", (others) => globalThis.shown.length >= others, others, 60_000);
  const shown = await page.evaluate(() => globalThis.shown);
  // The first one warms up.
  if (index > 0) times.push({ first: Math.min(...shown), all: Math.max(...shown) });
  await page.close();
}
await chromium.close();
server.close();

const quantile = (of, share) => times.map((own) => own[of]).toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * share))];
console.log(`${times.length} joins, ${options.people} people, topology ${options.topology}, cameras ${options.size}`);
for (const of of ["first", "all"]) console.log(`${of.padEnd(6)} p50 ${quantile(of, 0.5).toFixed(0)} ms, p95 ${quantile(of, 0.95).toFixed(0)} ms, most ${quantile(of, 1).toFixed(0)} ms`);
process.exit(0);
