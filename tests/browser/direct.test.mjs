// Messages to one participant alone: in a mesh, through the server, sealed, and when who was chosen leaves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { assertQuiet, readsChat, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";

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

/** Nobody sends anything, and every text that arrives is kept. */
const QUIET = `navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"));`;

/** Joins without devices. */
async function enters(t, browser, path, name, options = {}) {
  const page = await browser.newPage({ width: 900, height: 640, init: QUIET, ...options });
  t.after(() => page.close());
  await page.goto(`${server.url}/${path}`);
  await page.type("#your-name", name);
  await page.click("#join");
  await page.visible("call-view .stage");
  await page.evaluate(() => {
    globalThis.heard = [];
    document.querySelector("call-view").room.on("chat", ({ text, own, peer, direct = false }) => own || heard.push([peer.name, text, direct]));
  });
  return page;
}

/** Chooses who gets the next message; "" is everyone. */
async function chooses(page, name) {
  if (await page.evaluate(() => document.querySelector("#chat-panel").hidden)) await page.click('[data-action="chat"]');
  await page.until(`${name} can be chosen`, (name) => {
    const select = document.querySelector("#chat-to");
    const option = [...select.options].find(({ textContent }) => textContent === (name ? `${name} only` : "Everyone"));
    if (!option) return false;
    select.value = option.value;
    select.dispatchEvent(new Event("change"));
    return true;
  }, name);
}

async function writes(page, text) {
  await page.type("#chat-panel textarea", text);
  await page.press("Enter");
}

/** The heads of messages, with what they say of who got them. */
const only = (page, text) => page.evaluate((wanted) => [...document.querySelectorAll(".message")].find((one) => one.querySelector("p").textContent === wanted)?.querySelector(".message-only")?.textContent ?? null, text);
const heard = (page) => page.evaluate(() => globalThis.heard);

for (const isSealed of [false, true]) {
  test(`what is written to one reaches nobody else, in a mesh and through the server${isSealed ? ", sealed" : ""}`, { skip, timeout: 240_000 }, async (t) => {
    const room = `${roomFor("direct")}${isSealed ? `#key=${Buffer.alloc(32, 7).toString("base64url")}` : ""}`;
    const ada = await enters(t, chromium, room, "Ada");
    const eve = await enters(t, firefox, room, "Eve");
    await chooses(ada, "Eve");
    assert.equal(await ada.evaluate(() => document.querySelector("#chat-panel textarea").placeholder), "Write to Eve only");
    await writes(ada, "Between us");
    await readsChat(eve, "Between us");
    assert.deepEqual(await heard(eve), [["Ada", "Between us", true]]);
    await eve.until("it is said to be for her alone", () => document.querySelector(".toasts").textContent.includes("Ada only to you: Between us"));

    const grace = await enters(t, chromium, room, "Grace");
    for (const page of [ada, eve, grace]) await page.until("a room through the server", () => document.querySelector("call-view").room.link?.state === "connected", undefined, 60_000);
    await writes(ada, "Still between us");
    await readsChat(eve, "Still between us");
    await chooses(grace, "Ada");
    await writes(grace, "A word for Ada");
    await readsChat(ada, "A word for Ada");
    // What comes in order after them shows that nothing came before.
    for (const [page, text] of [[ada, "To all, says Ada"], [grace, "To all, says Grace"]]) {
      await chooses(page, "");
      await writes(page, text);
    }
    await readsChat(grace, "To all, says Ada");
    await readsChat(eve, "To all, says Ada");
    await readsChat(eve, "To all, says Grace");
    assert.deepEqual(await heard(grace), [["Ada", "To all, says Ada", false]]);
    assert.deepEqual((await heard(eve)).filter(([name]) => name === "Grace"), [["Grace", "To all, says Grace", false]]);
    assert.deepEqual([await only(ada, "Still between us"), await only(ada, "A word for Ada"), await only(ada, "To all, says Ada")], ["only to Eve", "only to you", null]);
    assertQuiet(ada, eve, grace);
  });
}

test("what was meant for one who has left goes to nobody", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("gone");
  const ada = await enters(t, chromium, room, "Ada");
  const eve = await enters(t, firefox, room, "Eve");
  const grace = await enters(t, chromium, room, "Grace");
  // From the list of people.
  await ada.press("p");
  await ada.click('[aria-label="Write to Grace only"]');
  await ada.until("the chat is open", () => !document.querySelector("#chat-panel").hidden && document.activeElement?.tagName === "TEXTAREA");
  await ada.page.keyboard.type("For Grace");
  await grace.click(".round.leave");
  await ada.until("she has left", () => [...document.querySelector("#chat-to").options].some(({ textContent }) => textContent === "Grace (left)"));
  await ada.page.keyboard.press("Enter");
  await ada.until("one is asked to choose", () => document.activeElement?.id === "chat-to");
  assert.equal(await ada.evaluate(() => document.querySelector("#chat-panel textarea").value), "For Grace", "nothing is lost");
  assert.equal(await ada.evaluate(() => document.querySelectorAll(".message").length), 0);
  await chooses(ada, "");
  await ada.until("who has gone is not offered any more", () => document.querySelector("#chat-to").options.length === 2);
  await ada.type("#chat-panel textarea", "For all");
  await ada.press("Enter");
  await readsChat(eve, "For all");
  assert.deepEqual(await heard(eve), [["Ada", "For all", false]]);
  assertQuiet(ada, eve);

  // A list that may be open stays as it is, and who has gone meanwhile gets nothing that is meant for them alone.
  await ada.evaluate(() => {
    const select = document.querySelector("#chat-to");
    select.focus();
    globalThis.kept = [...select.options];
  });
  await eve.click(".round.leave");
  const texts = () => [...document.querySelector("#chat-to").options].map(({ textContent }) => textContent);
  await ada.until("Eve has left", () => document.querySelectorAll(".tile.person").length === 0);
  assert.ok(await ada.evaluate(() => [...document.querySelector("#chat-to").options].every((option, index) => option === globalThis.kept[index])));
  assert.deepEqual(await ada.evaluate(texts), ["Everyone", "Eve only"]);
  await chooses(ada, "Eve");
  assert.deepEqual(await ada.evaluate(texts), ["Everyone", "Eve (left)"]);
  await chooses(ada, "");
  assert.ok(await ada.evaluate(() => document.querySelector("chat-receivers").hidden));
  assertQuiet(ada);
});

test("when something was said is seen, whatever the clock of who said it", { skip, timeout: 120_000 }, async (t) => {
  const ada = await enters(t, chromium, roomFor("clocks"), "Ada");
  const now = Date.now();
  const heads = await ada.evaluate((times) => {
    const panel = document.querySelector("chat-panel");
    panel.hidden = false;
    for (const at of times) panel.say({ text: "Hello", at, who: "Eve", own: false });
    return [...document.querySelectorAll(".message")].map((one) => [one.classList.contains("together"), one.querySelector("time").textContent]);
  }, [now, now + 1_000, now - 400 * 86_400_000, 8.65e15]);
  assert.deepEqual(heads.map(([together]) => together), [false, true, false, false]);
  assert.match(heads[2][1], new RegExp(String(new Date(now - 400 * 86_400_000).getFullYear())));
  assert.doesNotMatch(heads[3][1], /20\d\d/);
  await assertFits(ada, "a date");
  assertQuiet(ada);
});

test("it is seen who gets it, on every width, light and dark", { skip, timeout: 180_000 }, async (t) => {
  for (const [width, height, dark, phone] of [[360, 640, true, true], [900, 640, false, false], [1440, 900, true, false]]) {
    const room = roomFor("widths");
    const ada = await enters(t, chromium, room, "Ada", { width, height, dark, phone, reducedMotion: true });
    const eve = await enters(t, chromium, room, "Eve");
    await chooses(ada, "Eve");
    await writes(ada, "Between us");
    await writes(ada, "And more of it");
    await chooses(eve, "Ada");
    await writes(eve, "Yes");
    await readsChat(ada, "Yes");
    await assertFits(ada, `${width}`);
    await assertAccessible(ada, `${width}`);
    if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/direct-${width}.png`);
    await ada.close();
    await eve.close();
  }
});
