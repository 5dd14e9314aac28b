// A whole call by the keyboard alone, without its letters: from the start to the end, by Tab, Enter and Space.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, hears, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";

/** No page has so many places for the focus. */
const TABS_MAX = 40;

let server;
const browsers = {};
before(async () => {
  server = await startServer();
  [browsers.chromium, browsers.firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
});

/** Has the focus: what is on it, whether one sees it there, and whether anything covers it. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    const { left, top, width, height } = element.getBoundingClientRect();
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
    const over = document.elementFromPoint(left + width / 2, top + height / 2);
    return {
      label: element.getAttribute("aria-label") || element.labels?.[0]?.textContent || element.textContent.trim(),
      tag: document.hasFocus() ? element.tagName : "BODY",
      isMarked: (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow !== "none",
      isCovered: width > 0 && over !== null && !element.contains(over) && !over.contains(element),
      isIn: width > 0 && left >= -1 && top >= -1 && left + width <= innerWidth + 1 && top + height <= innerHeight + 1,
    };
  });

/** Presses Tab until what has the focus is called so, with Shift `back`; every place on the way can be seen. @param {string | RegExp} label */
async function tabTo(page, label, back = false) {
  const fits = (text) => (typeof label === "string" ? text === label : label.test(text));
  const seen = [];
  for (let tabs = 0; tabs < TABS_MAX; tabs += 1) {
    if (back) await page.page.keyboard.down("Shift");
    await page.press("Tab");
    if (back) await page.page.keyboard.up("Shift");
    const now = await focused(page);
    if (now.tag === "BODY" || now.tag === "HTML") continue; // round by the browser's own controls
    seen.push(now.label);
    assert.ok(now.isMarked, `the focus is not seen on ${now.label} (${now.tag})`);
    assert.ok(now.isIn, `${now.label} (${now.tag}) is outside of the page`);
    assert.equal(now.isCovered, false, `${now.label} (${now.tag}) is covered`);
    if (fits(now.label)) return;
  }
  assert.fail(`no ${label} among ${seen.join(" | ")}\n${await page.seen()}`);
}

for (const name of ["chromium", "firefox"]) {
  test(`${name}: a room is made, joined and left without a pointer`, { timeout: 180_000 }, async (t) => {
    const room = roomFor("keyboard");
    const page = await browsers[name].newPage({ width: 1000, height: 700, init: PROBE + SMALL });
    t.after(() => page.close());
    await page.goto(server.url);
    await page.visible("start-view form");
    await page.until("focus on the room's name", () => document.activeElement?.id === "room-name" || document.activeElement === document.body);
    if (!(await page.evaluate(() => document.activeElement?.id === "room-name"))) await tabTo(page, /room/i);
    await page.evaluate(() => document.activeElement.select());
    await page.page.keyboard.type(room);
    await page.press("Enter");

    await page.until("focus on one's name", () => document.activeElement?.id === "your-name");
    await page.page.keyboard.type("Ada");
    await page.until("camera and microphone", () => document.querySelector(".preview video")?.hidden === false);
    await tabTo(page, "Join");
    await page.press("Enter");
    await page.visible("call-view .stage");

    const other = await browsers.chromium.newPage({ width: 800, height: 600, init: PROBE + SMALL });
    t.after(() => other.close());
    await joinRoom(other, server.url, room, "Grace");
    await Promise.all([seesPicturesOf(page, 1), seesPicturesOf(other, 1), hears(other, 1)]);

    await tabTo(page, "Turn off microphone");
    await page.press(" ");
    await other.until("Ada muted", () => /Ada, microphone off/.test(document.querySelector(".tile.person").getAttribute("aria-label")));
    assert.equal((await focused(page)).label, "Turn on microphone", "the focus stays");
    await page.press("Enter");
    await other.until("Ada heard", () => !/microphone off/.test(document.querySelector(".tile.person").getAttribute("aria-label")));

    await tabTo(page, /^Chat/);
    await page.press("Enter");
    await page.until("focus in the chat", () => document.activeElement?.tagName === "TEXTAREA");
    await page.page.keyboard.type("By keys alone");
    await page.press("Enter");
    await readsChat(other, "By keys alone");
    await writeChat(other, "Read by keys");
    await readsChat(page, "Read by keys");
    await tabTo(page, "Close the chat", true);
    await page.press("Enter");
    await page.until("focus back on the chat's button", () => document.querySelector("#chat-panel").hidden && document.activeElement?.dataset.action === "chat");

    await tabTo(page, "More");
    await page.press("Enter");
    await page.visible("#more-menu");
    await tabTo(page, /^Settings/);
    await page.press("Enter");
    await page.visible("dialog[open]");
    assert.ok(await page.evaluate(() => document.querySelector("dialog").contains(document.activeElement)), "focus in the dialog");
    await page.press("Escape");
    await page.until("no dialog", () => !document.querySelector("dialog"));

    await tabTo(page, "Leave the call");
    await page.press(" ");
    await page.visible("left-view .button.primary");
    await other.until("alone", () => document.querySelectorAll(".tile.person").length === 0);
    await page.until("focus on the way back", () => document.activeElement?.matches("left-view .button.primary"));
    await page.press("Enter");
    await page.until("the lobby, with the name, ready to join", () => document.activeElement?.id === "join" && document.querySelector("#your-name").value === "Ada");
    await page.press("Enter");
    await page.visible("call-view .stage");
    await Promise.all([seesPicturesOf(page, 1), seesPicturesOf(other, 1)]);
    assertQuiet(page, other);
  });
}
