// What a person does on the meeting page, and what can be measured there.
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import { until } from "./driver.mjs";

/** Frames that must be decoded before a picture counts as moving. */
const FRAMES = 10;

/** A room name that no other test uses. @param {string} test */
export function roomFor(test) {
  return `${test}-${randomBytes(4).toString("hex")}`;
}

/**
 * Opens the page and joins.
 *
 * @param {import("./driver.mjs").Page} page
 * @param {string} base
 * @param {string} room
 * @param {string} name
 */
export async function joinRoom(page, base, room, name) {
  await page.goto(`${base}/${room}`);
  await page.type("#your-name", name);
  await page.until("camera and microphone in the lobby", () => {
    const devices = document.querySelector("level-meter") && document.querySelector(".preview video");
    return devices && !devices.hidden;
  });
  await page.click("#join");
  await page.visible("call-view .stage");
}

/**
 * Waits until pictures from so many others are being decoded, by the numbers of getStats.
 *
 * @param {import("./driver.mjs").Page} page
 * @param {number} others
 * @returns {Promise<number[]>} frames decoded from each
 */
export async function seesPicturesOf(page, others, frames = FRAMES) {
  return page.until(
    `${frames} frames decoded from each of ${others}`,
    async ({ others: wanted, frames: least }) => {
      const counts = await globalThis.decodedFrames();
      return counts.length === wanted && counts.every((count) => count >= least) ? counts : false;
    },
    { others, frames },
    60_000,
  );
}

/** Waits until sound from so many others arrives. */
export async function hears(page, others) {
  return page.until(
    `sound of ${others}`,
    async (wanted) => {
      const counts = await globalThis.audioPackets();
      return counts.length === wanted && counts.every((count) => count >= 20);
    },
    others,
  );
}

/** Frames decoded from each peer now. */
export function decodedFrames(page) {
  return page.evaluate(() => globalThis.decodedFrames());
}

/** Read by the functions above, in the page. */
export const PROBE = `
globalThis.inbound = async (kind, field) => {
  const counts = [];
  for (const peer of document.querySelector("call-view").room.peers.values()) {
    let count = 0;
    for (const stats of (await peer.connection.getStats()).values()) {
      if (stats.type === "inbound-rtp" && stats.kind === kind) count += stats[field] ?? 0;
    }
    counts.push(count);
  }
  return counts;
};
globalThis.decodedFrames = () => inbound("video", "framesDecoded");
globalThis.audioPackets = () => inbound("audio", "packetsReceived");
`;

/** The same where all participants share one connection: by what arrives of each. */
export const PROBE_EACH = `
globalThis.inbound = async (kind, field) => {
  const counts = [];
  for (const peer of document.querySelector("call-view").room.peers.values()) {
    const receiver = peer.media(kind === "video" ? "camera" : "microphone")?.receiver;
    const all = receiver ? [...(await receiver.getStats()).values()] : [];
    counts.push(all.find(({ type }) => type === "inbound-rtp")?.[field] ?? 0);
  }
  return counts;
};
globalThis.decodedFrames = () => inbound("video", "framesDecoded");
globalThis.audioPackets = () => inbound("audio", "packetsReceived");
globalThis.pictureSizes = () => inbound("video", "frameHeight");
`;

/** Small pictures: two cores carry no more of them among three and more. */
export const SMALL = `
  const getUserMedia = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
  if (getUserMedia) navigator.mediaDevices.getUserMedia = (wanted) =>
    getUserMedia({ ...wanted, ...(wanted.video ? { video: { width: 320, height: 180, frameRate: 10 } } : {}) });
`;

/** Writes a message as a person would. */
export async function writeChat(page, text) {
  if (!(await page.evaluate(() => !document.querySelector("#chat-panel").hidden))) await page.click('[data-action="chat"]');
  await page.type("#chat-panel textarea", text);
  await page.press("Enter");
}

/** Waits for a text from someone else in the chat. */
export async function readsChat(page, text) {
  return page.until(
    `chat message “${text}”`,
    (wanted) => [...document.querySelectorAll(".message:not(.own) p")].some((p) => p.textContent === wanted),
    text,
  );
}

/**
 * A folder of this run's own, and files in it.
 *
 * @param {import("node:test").TestContext} t
 */
export function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), "twocan-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return {
    folder,
    /** Random bytes of this size. @param {string} name @param {number} size */
    async file(name, size) {
      const path = join(folder, name);
      const handle = await open(path, "w");
      const hash = createHash("sha256");
      for (let at = 0; at < size; at += 1 << 20) {
        const bytes = randomBytes(Math.min(1 << 20, size - at));
        hash.update(bytes);
        await handle.write(bytes);
      }
      await handle.close();
      return { path, sha256: hash.digest("hex") };
    },
  };
}

/** @param {string} path */
async function sha256Of(path) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/**
 * SHA-256 of a download, once all of it is there.
 *
 * @param {string} path
 * @param {number} size
 */
export async function downloaded(path, size) {
  await until(`${path} with ${size} bytes`, () => existsSync(path) && statSync(path).size === size, 60_000);
  return sha256Of(path);
}

/** Nothing unexpected was said on the console. */
export function assertQuiet(...pages) {
  for (const page of pages) assert.deepEqual(page.errors, [], `${page.browser} console`);
}
