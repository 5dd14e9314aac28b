// The page for operators, `/admin`, against a server with people in its rooms.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { PROBE_EACH, SMALL, assertQuiet, joinRoom, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server is not administered";
const ADMIN = "the-operators-secret";
const KEY = "0123456789abcdef0123456789abcdef";

let server;
let browser;
before(async () => {
  if (skip) return;
  server = await startServer(`--topology sfu --open-rooms --token-key main:HS256:${KEY} --admin-secret ${ADMIN}`);
  browser = await launch("chromium");
});
after(async () => {
  await browser?.close();
  server?.close();
});

const tokenFor = (video) => new SignJWT({ video }).setProtectedHeader({ alg: "HS256", kid: "main" }).setIssuedAt().setExpirationTime("10m").sign(new TextEncoder().encode(KEY));

async function signsIn(t, token = ADMIN, options = {}) {
  const page = await browser.newPage(options);
  t.after(() => page.close());
  await page.goto(`${server.url}/admin`);
  await page.type("#token", token);
  await page.press("Enter");
  await page.visible(".inside");
  return page;
}

/** Opens a room of the list. */
async function opens(page, room) {
  await page.until(`${room} in the list`, (name) => {
    const row = [...document.querySelectorAll("button.room")].find((one) => one.querySelector("strong").textContent === name);
    row?.click();
    return Boolean(row);
  }, room);
  await page.visible("admin-room");
}

const presses = (page, label) => page.click(`[aria-label="${label}"]`);

/** Somebody in a room, with camera and microphone. */
async function comes(t, room, name) {
  const page = await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
  t.after(() => page.close());
  await joinRoom(page, server.url, room, name);
  return page;
}

test("a token that is not taken is said to be, and one that is stays in this tab alone", { skip, timeout: 120_000 }, async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(`${server.url}/admin`);
  await page.type("#token", "nonsense");
  await page.press("Enter");
  await page.until("the refusal", () => /does not take this token/.test(document.querySelector(".problem").innerText));
  await page.type("#token", ADMIN);
  await page.press("Enter");
  await page.visible(".inside");
  await page.until("the numbers of the server", () => /CPU\s+\d+ % of a core[^]*Memory\s+[\d.]+ MB/.test(document.querySelector(".figures").innerText));
  assert.doesNotMatch(await page.evaluate(() => JSON.stringify({ ...localStorage }) + document.cookie + location.href), new RegExp(ADMIN));
  await page.goto(`${server.url}/admin`);
  await page.visible(".inside");
  await page.evaluate(() => [...document.querySelectorAll("button")].find((one) => one.textContent === "Sign out").click());
  await page.visible("#token");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  // Behind the # it is taken too, and does not stay in the address.
  const other = await browser.newPage();
  t.after(() => other.close());
  await other.goto(`${server.url}/admin#token=${ADMIN}`);
  await other.visible(".inside");
  assert.equal(await other.evaluate(() => location.hash), "");
});

test("a room is made, seen, locked, talked to and ended", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("made");
  const page = await signsIn(t);
  await page.page.getByRole("button", { name: "New room" }).click();
  await page.type("#new-name", room);
  await page.click("#new-lobby");
  await page.page.getByRole("button", { name: "Make it" }).click();
  await page.visible("admin-room");
  await page.until("its lobby", () => document.querySelector(".actions").innerText.includes("Lobby off"));
  const ada = await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
  t.after(() => ada.close());
  await ada.goto(`${server.url}/${room}`);
  await ada.type("#your-name", "Ada");
  await ada.until("devices", () => !document.querySelector(".preview video")?.hidden);
  await ada.click("#join");
  await presses(page, "Admit Ada");
  await ada.visible("call-view .stage");
  await page.type("#say", "Five minutes left");
  await page.press("Enter");
  await ada.until("the announcement", () => document.querySelector(".toasts").innerText.includes("Five minutes left"));
  await page.page.getByRole("button", { name: "Lock", exact: true }).click();
  await page.page.getByRole("button", { name: "Unlock" }).waitFor();
  await page.page.getByRole("button", { name: "End the room" }).click();
  await page.type("#reason", "Closing time");
  await page.press("Enter");
  await ada.visible("left-view");
  await page.until("it is gone", (name) => ![...document.querySelectorAll("button.room strong")].some((one) => one.textContent === name), room);
  assertQuiet(page);
});

test("people are seen with their rates, muted, limited and removed", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("people");
  const ada = await comes(t, room, "Ada");
  await comes(t, room, "Grace");
  const page = await signsIn(t);
  await opens(page, room);
  const figures = () => [...document.querySelectorAll(".people li")].map((one) => one.innerText);
  await page.until(
    "rates both ways",
    () => {
      const all = [...document.querySelectorAll(".people li")].map((one) => one.innerText);
      return all.length === 2 && all.every((text) => /Sends us\s+[1-9]\d* kbit\/s, \d+\.\d % lost[^]*Gets\s+[1-9]\d* kbit\/s[^]*Round trip\s+\d+ ms[^]*connected/.test(text));
    },
    undefined,
    60_000,
  );
  assert.match((await page.evaluate(figures)).join(), /microphone, camera/);
  // What is open stays open and what has the focus keeps it, through many readings.
  await page.page.getByText("What it may do").first().click();
  await page.page.focus("#say");
  await page.evaluate(() => {
    globalThis.readings = 0;
    new MutationObserver(() => (globalThis.readings += 1)).observe(document.querySelector(".people .person-figures"), { childList: true });
  });
  await page.until("two readings", () => globalThis.readings >= 2, undefined, 120_000);
  assert.deepEqual(await page.evaluate(() => [document.activeElement.id, document.querySelector(".permissions").open]), ["say", true]);

  await presses(page, "Mute Ada");
  await ada.until("she is muted", () => document.querySelector('[data-action="microphone"]').getAttribute("aria-label") === "Turn on microphone");
  await page.until("it is shown", () => /microphone \(muted\)/.test(document.querySelector(".people").innerText));
  const sends = page.page.locator(".people li", { hasText: "Ada" }).locator('input[id^="publish-"]');
  if (!(await sends.isVisible())) await page.page.locator(".people li", { hasText: "Ada" }).getByText("What it may do").click();
  await sends.click();
  await page.until("she sends nothing", () => [...document.querySelectorAll(".people li")].some((one) => /Ada[^]*sends nothing/.test(one.innerText)));
  await presses(page, "Remove Ada");
  await page.type("#reason", "Noise");
  await page.press("Enter");
  await ada.visible("left-view");
  await page.until("one is left", () => document.querySelectorAll(".people li").length === 1);
  assertQuiet(page);
});

test("links carry tokens that are signed on the page, and open what they say", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("links");
  await comes(t, room, "Ada");
  const page = await signsIn(t);
  await opens(page, room);
  await page.page.getByRole("button", { name: "Link", exact: true }).click();
  const link = () => page.evaluate(() => document.querySelector("#link-made").textContent);
  assert.equal(await link(), `${server.url}/${room}`);
  await page.type("#link-key", "main:HS256:short");
  await page.until("what is wrong", () => /32 bytes/.test(document.querySelector("dialog").innerText));
  await page.type("#link-key", `main:HS256:${KEY}`);
  await page.page.selectOption("#link-purpose", "moderate");
  await page.type("#link-name", "Grace");
  await page.until("a token", () => /access_token=eyJ/.test(document.querySelector("#link-made").textContent));
  const grace = await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
  t.after(() => grace.close());
  await grace.goto(await link());
  await grace.click("#join");
  await grace.until("she moderates", () => document.querySelector(".tile-order")?.checkVisibility());
  await page.until("by the name of the token", () => [...document.querySelectorAll(".people li")].some((one) => /Grace[^]*moderates/.test(one.innerText)));
  await page.page.selectOption("#link-purpose", "watch");
  await page.until("behind the #", () => /\/watch\/[^?]+#token=eyJ/.test(document.querySelector("#link-made").textContent));
  const viewer = await browser.newPage();
  t.after(() => viewer.close());
  await viewer.goto(await link());
  await viewer.until("it plays", () => document.querySelector("video").videoWidth > 0, undefined, 60_000);
  await page.press("Escape");
  await page.until("the viewer among them", () => /by WHEP, seen by nobody/.test(document.querySelector(".people").innerText));
});

test("a token for one room sees that room, and one that is not enough is told so", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("one");
  await comes(t, room, "Ada");
  const page = await signsIn(t, await tokenFor({ room, roomAdmin: true }));
  await page.type("#one-room", room);
  await page.press("Enter");
  await page.until("who is in it", () => /Ada/.test(document.querySelector(".people")?.innerText ?? ""));
  await page.page.getByRole("button", { name: "New room" }).click();
  await page.type("#new-name", "another");
  await page.press("Enter");
  await page.until("the refusal", () => /roomCreate/.test(document.querySelector("dialog").innerText));
});

test("a server that does not answer is said, and asked again", { skip, timeout: 120_000 }, async (t) => {
  const page = await signsIn(t, ADMIN, {
    init: `const realFetch = fetch.bind(globalThis); globalThis.fetch = (...all) => globalThis.isDown ? Promise.reject(new TypeError("down")) : realFetch(...all);`,
  });
  await page.evaluate(() => (globalThis.isDown = true));
  await page.until("it is said", () => /cannot be reached/.test(document.querySelector(".problem").innerText));
  await page.evaluate(() => (globalThis.isDown = false));
  await page.until("it is back", () => document.querySelector(".problem").hidden);
});

test("the page fits every width, passes axe in light and dark, and needs no mouse", { skip, timeout: 300_000 }, async (t) => {
  const room = roomFor("fits");
  await comes(t, room, "Ada Lovelace of a long name");
  const shot = async (page, name) => process.env.SHOTS && page.screenshot(`${process.env.SHOTS}/${name}.png`);
  for (const [width, height] of [[360, 640], [768, 1024], [1440, 900]]) {
    for (const dark of [false, true]) {
      const where = `${width}, dark: ${dark}`;
      const name = `${width}-${dark ? "dark" : "light"}`;
      const page = await browser.newPage({ width, height, dark, reducedMotion: true });
      await page.goto(`${server.url}/admin`);
      await page.visible("#token");
      await assertAccessible(page, `sign in, ${where}`);
      await assertFits(page, `sign in, ${where}`);
      await shot(page, `admin-sign-in-${name}`);
      await page.type("#token", ADMIN);
      await page.press("Enter");
      await page.visible(".inside");
      await opens(page, room);
      await page.until("figures", () => /Sends us\s+\d+ kbit/.test(document.querySelector(".people")?.innerText ?? ""));
      await assertAccessible(page, `room, ${where}`);
      await assertFits(page, `room, ${where}`);
      await shot(page, `admin-${name}`);
      await page.evaluate(() => document.querySelector("admin-room").scrollIntoView());
      await page.evaluate(() => (document.querySelector(".permissions").open = true));
      await assertAccessible(page, `permissions, ${where}`);
      await shot(page, `admin-room-${name}`);
      await page.page.getByRole("button", { name: "Link", exact: true }).click();
      await page.type("#link-key", `main:HS256:${KEY}`);
      await page.until("a token", () => /access_token=eyJ/.test(document.querySelector("#link-made").textContent));
      await assertAccessible(page, `link, ${where}`);
      await assertFits(page, `link, ${where}`);
      await shot(page, `admin-link-${name}`);
      await page.press("Escape");
      await page.page.focus("button.room");
      await page.press("Enter");
      await page.until("the focus in the room", () => document.activeElement?.id === "room");
      await page.press("Tab");
      await page.press("Enter");
      await page.until("the focus back in the list", () => document.activeElement?.className === "room" && !document.querySelector("admin-room"));
      await page.close();
    }
  }
});
