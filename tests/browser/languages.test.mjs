// The page in the language of the browser, or the one that was chosen.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { PROBE, assertQuiet, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";

let server;
let chromium;
before(async () => {
  server = await startServer();
  chromium = await launch("chromium");
});
after(async () => {
  await chromium?.close();
  server?.close();
});

/** What the controls are called, as screen readers say it, and what the menu says. */
const labels = (page) =>
  page.evaluate(() => ({
    language: document.documentElement.lang,
    controls: Object.fromEntries([...document.querySelectorAll("call-controls > button[data-action]")].map((button) => [button.dataset.action, button.getAttribute("aria-label")])),
    menu: [...document.querySelectorAll("#more-menu .menu-item span")].map(({ textContent }) => textContent),
  }));

async function shot(page, name) {
  if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/languages-${name}.png`);
}

for (const [width, height] of [[360, 720], [1440, 900]]) test(`German at ${width} pixels: the lobby, the call, its menu, the chat and the dialogs`, { timeout: 180_000 }, async (t) => {
  const room = roomFor("deutsch");
  const size = { width, height, reducedMotion: true };
  const ada = await chromium.newPage({ ...size, init: PROBE, locale: "de-DE" });
  const eve = await chromium.newPage({ ...size, init: PROBE, locale: "en-GB" });
  t.after(() => Promise.all([ada.close(), eve.close()]));
  await ada.goto(`${server.url}/`);
  await ada.visible("#room-name");
  await assertFits(ada, "start");
  await shot(ada, `start-${width}`);

  await ada.goto(`${server.url}/${room}`);
  await ada.visible("#join");
  assert.deepEqual(await ada.evaluate(() => ["h1", "label[for=your-name]", "#join"].map((one) => document.querySelector(one).textContent)), [`${room} beitreten`, "Dein Name", "Beitreten"]);
  await assertFits(ada, "lobby");
  await shot(ada, `lobby-${width}`);
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(eve, server.url, room, "Eve");
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(eve, 1)]);

  const { language, controls, menu } = await labels(ada);
  assert.equal(language, "de");
  assert.equal(controls.microphone, "Mikrofon ausschalten");
  assert.equal(controls.camera, "Kamera ausschalten");
  assert.equal(controls.screen, "Bildschirm teilen");
  assert.equal(controls.more, "Mehr");
  for (const text of ["Personen", "Link kopieren", "Datei senden", "Ansicht: Automatisch", "Statistik", "Einstellungen", "Hilfe und Tastenkürzel"]) assert.ok(menu.includes(text), `${text} in ${menu.join(", ")}`);
  const english = await labels(eve);
  assert.equal(english.language, "en");
  assert.equal(english.controls.microphone, "Turn off microphone");
  assert.ok(english.menu.includes("Settings"));

  await assertFits(ada, "call");
  await assertAccessible(ada, "call");
  await ada.click('[data-action="microphone"]');
  await ada.until("it is said", () => document.querySelector("[role=status][aria-live]").textContent.includes("Mikrofon aus"));
  await shot(ada, `call-${width}`);
  await ada.click('[data-action="more"]');
  await ada.visible('#more-menu [data-action="settings"]');
  await assertFits(ada, "menu");
  await shot(ada, `menu-${width}`);
  await ada.click('#more-menu [data-action="people"]');
  await ada.visible("#people-list");
  await assertFits(ada, "people");
  await shot(ada, `people-${width}`);
  await ada.press("Escape");
  await writeChat(eve, "Good day");
  await readsChat(ada, "Good day");
  await ada.click('[data-action="chat"]');
  await ada.visible("#chat-panel textarea");
  assert.equal(await ada.evaluate(() => document.querySelector("#chat-panel textarea").placeholder), "An alle schreiben");
  await assertFits(ada, "chat");
  await shot(ada, `chat-${width}`);
  await ada.press("Escape");
  for (const action of ["settings", "help"]) {
    await ada.click('[data-action="more"]');
    await ada.click(`#more-menu [data-action="${action}"]`);
    await ada.visible("dialog[open]");
    await assertFits(ada, action);
    await assertAccessible(ada, action);
    await shot(ada, `${action}-${width}`);
    await ada.evaluate(() => document.querySelector(".dialog-body").lastElementChild.scrollIntoView());
    await shot(ada, `${action}-end-${width}`);
    await ada.press("Escape");
    await ada.until("closed", () => !document.querySelector("dialog"));
  }
  assertQuiet(ada, eve);
});

test("a language that there is not is English, and another can be chosen for good", { timeout: 120_000 }, async (t) => {
  const room = roomFor("sprachen");
  const page = await chromium.newPage({ width: 900, height: 700, locale: "pl-PL" });
  t.after(() => page.close());
  await joinRoom(page, server.url, room, "Ola");
  const polish = await labels(page);
  assert.deepEqual([polish.language, polish.controls.more], ["en", "More"]);
  for (const [language, more] of [["fr", "Plus"], ["es", "Más"], ["auto", "More"]]) {
    await page.click('[data-action="more"]');
    await page.click('#more-menu [data-action="settings"]');
    await page.visible("#settings-language");
    await page.evaluate((wanted) => {
      const select = document.querySelector("#settings-language");
      select.value = wanted;
      select.dispatchEvent(new Event("change"));
    }, language);
    await joinRoom(page, server.url, room, "Ola");
    const now = await labels(page);
    assert.deepEqual([now.language, now.controls.more], [language === "auto" ? "en" : language, more]);
  }
  assertQuiet(page);
});

test("the other pages speak German as well, and that for operators does not", { timeout: 60_000 }, async (t) => {
  const page = await chromium.newPage({ width: 360, height: 720, locale: "de-AT" });
  t.after(() => page.close());
  await page.goto(`${server.url}/copy-paste.html`);
  await page.until("German", () => document.querySelector("#begin").textContent === "Angebot erstellen" && document.querySelector("#text").placeholder === "Schreib etwas");
  await assertFits(page, "copy and paste");
  for (const [path, element, text] of [["watch", "live-player", "Abspielen|Anhalten"], ["publish", "#go", "Sendung starten"]]) {
    await page.goto(server.isFixture ? `${server.url}/${path}.html` : `${server.url}/${path}/raum`);
    await page.until(`${path} in German`, ({ element, text }) => new RegExp(text).test(document.querySelector(element)?.innerHTML ?? ""), { element, text });
    assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
    await assertFits(page, path);
    await shot(page, path);
  }
  await page.goto(server.isFixture ? `${server.url}/admin.html` : `${server.url}/admin`);
  await page.until("the operators' page", () => document.querySelector("admin-page").innerText.includes("Sign in"));
  assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
});
