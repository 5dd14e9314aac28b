// Raised hands in their order, and reactions: in a mesh, through the server, over a lost connection, and by who moderates.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { startProxy } from "./cut-proxy.mjs";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { PROBE_EACH, SMALL, assertQuiet, joinRoom, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server knows no hands";
const SECRET = "0123456789abcdef0123456789abcdef";

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--peers-per-mesh 2 --mesh-after 2");
  chromium = await launch("chromium");
  firefox = await launch("firefox");
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  server?.close();
});

/** Nobody sends anything, and what is announced is kept. */
const QUIET = `
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"));
  globalThis.said = [];
  document.addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
    for (const { addedNodes, target } of changes) {
      if (target instanceof Element && target.matches("[aria-live]")) for (const node of addedNodes) said.push(node.textContent);
    }
  }).observe(document.body, { childList: true, subtree: true }));
`;

/** Joins without devices. */
async function enters(t, browser, base, path, name, options = {}) {
  const page = await browser.newPage({ width: 900, height: 640, init: QUIET, ...options });
  t.after(() => page.close());
  await page.goto(`${base}/${path}`);
  await page.type("#your-name", name);
  await page.click("#join");
  await page.visible("call-view .stage");
  await page.until("hands are possible", () => document.querySelector("call-view").room.gestures.isPossible);
  return page;
}

/** Waits until tiles say who has a hand up, in that order. */
const shows = (page, ...names) =>
  page.until(
    `hands of ${names.join(", ") || "nobody"}`,
    (names) => {
      const places = [...document.querySelectorAll(".tile:not(.screen)")].flatMap((tile) => {
        const badge = tile.querySelector(".tile-hand");
        const place = badge.hidden ? 0 : Number(badge.textContent);
        const spoken = Number(/hand raised, number (\d+)/.exec(tile.getAttribute("aria-label"))?.[1] ?? 0);
        return place === spoken ? (place ? [[place, tile.querySelector(".tile-name").textContent]] : []) : [[-1, "differs"]];
      });
      return JSON.stringify(places.sort(([a], [b]) => a - b)) === JSON.stringify(names.map((name, index) => [index + 1, name]));
    },
    names,
  );

/** Who is in the list of people, from above, with the place of the hand. */
async function listed(page) {
  if (!(await page.evaluate(() => document.querySelector("#people-list").matches(":popover-open")))) await page.press("p");
  await page.visible("#people-list");
  const rows = await page.evaluate(() =>
    [...document.querySelectorAll("person-row")].map((row) => {
      const hand = row.querySelector(".hands-up");
      return [row.querySelector(".person-name").textContent, hand.hidden ? 0 : Number(hand.children[1].textContent)];
    }),
  );
  await page.press("p");
  return rows;
}

const heardOf = (page, words) => page.until(`announced: ${words}`, (wanted) => globalThis.said.some((text) => text.includes(wanted)), words);
const shot = (page, name) => process.env.SHOTS && page.screenshot(`${process.env.SHOTS}/gestures-${name}.png`);
const settled = (page) => page.until("a room through the server", () => document.querySelector("call-view").room.link?.state === "connected", undefined, 60_000);

test("hands have one order for all, in a mesh, through the server and for who comes later", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("hands");
  const ada = await enters(t, chromium, server.url, room, "Ada");
  const eve = await enters(t, firefox, server.url, room, "Eve");
  await ada.press("h");
  await shows(ada, "You");
  await shows(eve, "Ada");
  await heardOf(ada, "Your hand is raised, number 1");
  await heardOf(eve, "Ada raised a hand");
  await eve.click('[data-action="hand"]');
  await shows(ada, "You", "Eve");
  await shows(eve, "Ada", "You");
  assert.equal(await eve.evaluate(() => document.querySelector('[data-action="hand"]').getAttribute("aria-label")), "Lower your hand");

  const grace = await enters(t, chromium, server.url, room, "Grace");
  await shows(grace, "Ada", "Eve");
  for (const page of [ada, eve, grace]) await settled(page);
  await grace.press("h");
  await shows(grace, "Ada", "Eve", "You");
  await shows(ada, "You", "Eve", "Grace");
  await shows(eve, "Ada", "You", "Grace");
  await ada.press("h");
  await shows(grace, "Eve", "You");
  await heardOf(ada, "Your hand is down");
  await heardOf(eve, "You are next");
  await ada.press("h");
  await shows(eve, "You", "Grace", "Ada");
  assert.deepEqual(await listed(grace), [["Eve", 1], ["You", 2], ["Ada", 3]]);
  assert.deepEqual(await listed(eve), [["You", 1], ["Grace", 2], ["Ada", 3]]);
  assert.equal(await ada.evaluate(() => document.querySelector(".people-count").textContent.replace(/\s+/g, " ").trim()), "3 participants 3 hands raised");

  // Back to a mesh, without the first of the queue.
  await eve.click(".round.leave");
  await shows(ada, "Grace", "You");
  await shows(grace, "You", "Ada");
  await ada.until("a mesh again", () => document.querySelector("call-view").room.link === null, undefined, 60_000);
  await shows(ada, "Grace", "You");
  assert.deepEqual(await listed(ada), [["Grace", 1], ["You", 2]]);
  assertQuiet(ada, grace);
});

test("a hand stays up while the connection to the server is lost, and what changed meanwhile is seen", { skip, timeout: 120_000 }, async (t) => {
  const proxy = await startProxy(server.url);
  t.after(() => proxy.close());
  const room = roomFor("resumes");
  const ada = await enters(t, chromium, proxy.url, room, "Ada");
  const bob = await enters(t, chromium, server.url, room, "Bob");
  await ada.press("h");
  await shows(bob, "Ada");
  proxy.block(true);
  proxy.cut();
  await ada.until("the connection is lost", () => document.querySelector("call-view").room.state === "reconnecting");
  await bob.press("h");
  await shows(bob, "Ada", "You");
  await shows(ada, "You");
  proxy.block(false);
  await shows(ada, "You", "Bob");
  await ada.press("h");
  await shows(bob, "You");
  await shows(ada, "Bob");
});

test("who moderates lowers one hand, or all, and nobody else can", { skip, timeout: 180_000 }, async (t) => {
  const kept = await startServer(`--token-key main:HS256:${SECRET}`);
  t.after(() => kept.close());
  const room = roomFor("lowered");
  const link = async (grants) => {
    const token = await new SignJWT({ video: { room, roomJoin: true, ...grants } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setExpirationTime("1h").sign(new TextEncoder().encode(SECRET));
    return `${room}?access_token=${token}`;
  };
  const host = await enters(t, chromium, kept.url, await link({ roomAdmin: true }), "Host");
  const ada = await enters(t, chromium, kept.url, await link({}), "Ada");
  const bob = await enters(t, chromium, kept.url, await link({}), "Bob");
  for (const [index, page] of [ada, bob, host].entries()) {
    await page.press("h");
    await page.until("up", (place) => document.querySelector("call-view").room.gestures.placeOf() === place, index + 1);
  }
  await shows(host, "Ada", "Bob", "You");
  await ada.press("p");
  await ada.visible("#people-list");
  const powers = () => [...document.querySelectorAll("#people-list .button:not([hidden])")].map((button) => button.getAttribute("aria-label") ?? button.textContent);
  assert.deepEqual(await ada.evaluate(powers), [], "no powers for others");
  await host.press("p");
  await host.visible("#people-list");
  assert.deepEqual(await host.evaluate(powers), ["Lower all hands", "Lower the hand of Ada", "Lower the hand of Bob"]);
  await assertAccessible(host, "people");
  await shot(host, "people");
  await host.click('[aria-label="Lower the hand of Ada"]');
  await shows(host, "Bob", "You");
  await host.until("the focus is beside the button that went", () => document.activeElement?.getAttribute("aria-label") === "Write to Ada only");
  await heardOf(ada, "Your hand was lowered");
  await shows(ada, "Bob", "Host");
  await host.click(".people-head .button");
  for (const page of [host, ada, bob]) await shows(page);
  await heardOf(bob, "Your hand was lowered");
  await heardOf(ada, "No hand is raised any more");
  await host.until("the focus is in the list", () => document.activeElement?.classList.contains("people-rows"));

  // Whoever raises and lowers without end is neither said nor shown each time.
  const [more, atOnce] = await ada.evaluate(async () => {
    const words = () => said.filter((text) => text.includes("No hand is raised any more")).length;
    const stage = document.querySelector("call-stage");
    const { gestures, peers } = document.querySelector("call-view").room;
    const { refresh } = stage;
    let refreshed = 0;
    stage.refresh = () => (refreshed++, refresh.call(stage));
    const before = words();
    for (let turn = 0; turn < 10; turn++) gestures.emit("hand", { peer: [...peers.values()][0], raised: false });
    const atOnce = refreshed;
    await new Promise((done) => setTimeout(done));
    stage.refresh = refresh;
    return [words() - before, atOnce];
  });
  assert.ok(more <= 1, `${more} times`);
  assert.equal(atOnce, 0);
  assertQuiet(host, ada, bob);
});

/** What floats over a tile, and over whose. */
const floating = () => [...document.querySelectorAll(".tile-reactions > span")].map((one) => `${one.closest(".tile").querySelector(".tile-name").textContent} ${one.textContent}`);

test("reactions are seen over the tile of who reacts, are said, and are not sent without end", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("reactions");
  const ada = await enters(t, chromium, server.url, room, "Ada");
  const eve = await enters(t, firefox, server.url, room, "Eve");
  const kept = (page) =>
    page.evaluate(() => {
      globalThis.seen = [];
      document.querySelector("call-view").room.gestures.on("reaction", ({ peer, emoji }) => seen.push(`${peer?.name ?? "own"} ${emoji}`));
    });
  await kept(ada);
  await kept(eve);
  await ada.until("Eve's tile", () => document.querySelectorAll(".tile.person").length === 1);
  await ada.click('[data-action="react"]');
  await ada.visible("#reaction-bar");
  await assertAccessible(ada, "the bar");
  await ada.click('#reaction-bar [aria-label="Applause"]');
  await ada.until("over one's own tile", () => document.querySelector(".tile-reactions > span") !== null);
  assert.deepEqual(await ada.evaluate(floating), ["You 👏"]);
  await eve.until("over Ada's tile", () => document.querySelector(".tile.person .tile-reactions > span")?.textContent === "👏");
  await heardOf(eve, "Applause from Ada");
  await heardOf(ada, "Applause from you");
  await ada.until("it goes by itself", () => document.querySelectorAll(".tile-reactions > span").length === 0);

  // By the keyboard, and then faster than any finger.
  await eve.press("r");
  await eve.visible("#reaction-bar");
  await eve.press("Enter");
  await heardOf(ada, "Thumbs up from Eve");
  await eve.evaluate(() => {
    for (let i = 0; i < 12; i += 1) document.querySelector(".reaction").click();
  });
  await eve.until("told that it is too fast", () => document.querySelector(".toasts").textContent.includes("That was too fast"));
  await ada.until("some came", () => globalThis.seen.filter((one) => one === "Eve 👍").length >= 4);
  assert.ok((await ada.evaluate(floating)).length <= 5);
  const [sent, came] = await Promise.all([eve, ada].map((page) => page.evaluate(() => globalThis.seen.filter((one) => one.endsWith("👍")).length)));
  assert.ok(sent < 13 && came < 13, `${came} of 13 came`);
  await shot(ada, "reactions");
  await eve.press("Escape");
  assert.equal(await eve.evaluate(() => document.querySelector("#reaction-bar").matches(":popover-open")), false);
  assertQuiet(ada, eve);
});

test("the reaction of who is on another page of tiles is seen with the name", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("pages");
  const ada = await enters(t, chromium, server.url, room, "Ada", { width: 290, height: 300 });
  const others = { Bob: await enters(t, chromium, server.url, room, "Bob"), Eve: await enters(t, firefox, server.url, room, "Eve") };
  const elsewhere = await ada.until("a tile on another page", () => document.querySelector(".tile.person[hidden] .tile-name")?.textContent);
  await others[elsewhere].press("r");
  await others[elsewhere].click('#reaction-bar [aria-label="Heart"]');
  await ada.until("it is seen", (name) => document.querySelector(".stage > .tile-reactions > span small")?.textContent === name, elsewhere);
  await heardOf(ada, `Heart from ${elsewhere}`);
  await shot(ada, "elsewhere");
  assertQuiet(ada, others.Bob, others.Eve);
});

test("who wants no motion sees a reaction that stands still", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("still");
  const ada = await enters(t, chromium, server.url, room, "Ada", { reducedMotion: true });
  const bob = await enters(t, chromium, server.url, room, "Bob");
  await ada.until("Bob's tile", () => document.querySelectorAll(".tile.person").length === 1);
  const look = () => {
    const one = document.querySelector(".tile-reactions > span");
    return one && { moves: one.getAnimations().length > 0, opacity: getComputedStyle(one).opacity };
  };
  await bob.press("r");
  await bob.click('#reaction-bar [aria-label="Heart"]');
  assert.deepEqual(await ada.until("a reaction", look), { moves: false, opacity: "1" });
  assert.equal((await bob.until("the same where motion is welcome", look)).moves, true);
});

test("hands and reactions fit every width, light and dark, with pictures behind them", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("widths");
  const grace = await chromium.newPage({ init: PROBE_EACH + SMALL });
  t.after(() => grace.close());
  await joinRoom(grace, server.url, room, "Grace");
  for (const [width, height, dark, phone] of [[360, 640, true, true], [768, 1024, false, false], [1440, 900, true, false]]) {
    const ada = await chromium.newPage({ width, height, dark, phone, reducedMotion: true, init: PROBE_EACH + SMALL });
    await joinRoom(ada, server.url, room, "Ada");
    await ada.until("a tile for two", () => document.querySelectorAll(".tile").length === 2);
    // Where there is no place for a button it is in the menu.
    if (phone) {
      await ada.click('[data-action="more"]');
      await assertFits(ada, `${width}, the menu`);
      await shot(ada, `${width}-menu`);
      await ada.evaluate(() => [...document.querySelectorAll(".menu-item")].find((one) => one.textContent.includes("Raise your hand")).click());
    } else {
      await ada.click('[data-action="hand"]');
    }
    await shows(ada, "You");
    if (phone) {
      await ada.click('[data-action="more"]');
      await ada.evaluate(() => [...document.querySelectorAll(".menu-item")].find((one) => one.textContent.includes("React")).click());
    } else {
      await ada.click('[data-action="react"]');
    }
    await ada.visible("#reaction-bar");
    await assertFits(ada, `${width}, the bar`);
    await assertAccessible(ada, `${width}, the bar`);
    await ada.click('#reaction-bar [aria-label="Laughter"]');
    await ada.until("it is seen", () => document.querySelectorAll(".tile-reactions > span").length === 1);
    await shot(ada, `${width}`);
    await ada.click(".people-count");
    await ada.visible("#people-list");
    await assertFits(ada, `${width}, the list`);
    await assertAccessible(ada, `${width}, the list`);
    await shot(ada, `${width}-list`);
    await ada.close();
    await grace.until("Ada is gone", () => document.querySelectorAll(".tile").length === 1, undefined, 90_000);
  }
  assertQuiet(grace);
});
