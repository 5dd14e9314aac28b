// The pages that broadcast to a room and play it: `/publish/{room}` and `/watch/{room}`.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { SMALL, assertQuiet, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server has neither WHIP nor WHEP";
const ADMIN = "the-operators-secret";
const KEY = "0123456789abcdef0123456789abcdef";

let server;
let closed;
const browsers = {};
before(async () => {
  if (skip) return;
  server = await startServer(`--topology sfu --open-rooms --token-key main:HS256:${KEY} --admin-secret ${ADMIN}`);
  closed = await startServer(`--topology sfu --token-key main:HS256:${KEY}`);
  browsers.chromium = await launch("chromium");
  browsers.firefox = await launch("firefox");
});
after(async () => {
  await browsers.chromium?.close();
  await browsers.firefox?.close();
  server?.close();
  closed?.close();
});

/** What the page asked for, as `globalThis.asked`, but for the events of the session. */
const ASKED = `
  globalThis.asked = [];
  const realFetch = globalThis.fetch.bind(globalThis);
  globalThis.fetch = (url, request) => (/[/](sse|layer)$/.test(url) || asked.push({ method: request?.method ?? "GET", url: String(url) }), realFetch(url, request));
`;

/** Opens the page that broadcasts, and begins. */
async function broadcasts(t, browser, url, options = {}) {
  const page = await browsers[browser].newPage({ init: SMALL + ASKED, ...options });
  t.after(() => page.close());
  await page.goto(url);
  await page.until("the camera's picture", () => !document.querySelector(".preview video")?.hidden);
  await page.click("#go");
  return page;
}

const isLive = (page) => page.until("live", () => document.querySelector(".live-badge")?.checkVisibility(), undefined, 60_000);

/** Opens the page that plays. */
async function watches(t, browser, url, options = {}) {
  const page = await browsers[browser].newPage({ init: ASKED, ...options });
  t.after(() => page.close());
  await page.goto(url);
  return page;
}

/** Waits until so many pictures more were shown. */
async function plays(page, more = 10) {
  await page.evaluate(() => {
    globalThis.shown = 0;
    const next = () => {
      globalThis.shown += 1;
      document.querySelector("video").requestVideoFrameCallback(next);
    };
    next();
  });
  await page.until(`${more} pictures more`, (least) => !document.querySelector("video").paused && globalThis.shown > least, more, 60_000);
}

const says = (page, words, within = 60_000) => page.until(words, (wanted) => document.querySelector(".player-status").innerText.includes(wanted), words, within);

for (const [from, to] of [["chromium", "firefox"], ["firefox", "chromium"]]) {
  test(`${from} broadcasts from its page, and the page in ${to} begins and ends with it`, { skip, timeout: 240_000 }, async (t) => {
    const room = roomFor("watch");
    const viewer = await watches(t, to, `${server.url}/watch/${room}`);
    await says(viewer, "Nothing is broadcast here yet");
    const camera = await broadcasts(t, from, `${server.url}/publish/${room}`);
    await isLive(camera);
    await isLive(viewer);
    await plays(viewer);
    await camera.until("what is sent", () => /Sending\s+[\d.]+ [kM]bit\/s/.test(document.querySelector(".publish-health").innerText));
    await viewer.press("i");
    await viewer.until("statistics", () => /Delay\s+\d+ ms[^]*Rate\s+[1-9][^]*lost[^]*DTLS 1\.[23]/.test(document.querySelector(".player-statistics").innerText));
    // Another microphone, where the browser has several, takes the place of the one before.
    await camera.evaluate(() => {
      const select = document.querySelector("#microphone");
      select.selectedIndex = select.options.length - 1;
      select.dispatchEvent(new Event("change"));
    });
    await plays(viewer);
    assert.equal(await camera.evaluate(() => asked.filter(({ method }) => method === "POST").length), 1);
    await camera.click("#go");
    await says(viewer, "Nothing is broadcast here yet");
    await camera.click("#go");
    await plays(viewer);
    assert.deepEqual(await viewer.evaluate(() => asked.filter(({ method }) => method === "POST").length), 1, "one session for all of it");
    assertQuiet(camera, viewer);
  });
}

test("what is broadcast is heard after a tap where the browser holds sound back, and sound goes off and on", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("tap");
  await isLive(await broadcasts(t, "chromium", `${server.url}/publish/${room}`));
  // What browsers do with a page that nobody has touched, which those of the tests are told not to.
  const held = `
    let touched = false;
    addEventListener("pointerdown", () => (touched = true), true);
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
      return this.muted || touched ? play.call(this) : Promise.reject(new DOMException("", "NotAllowedError"));
    };`;
  const viewer = await watches(t, "chromium", `${server.url}/watch/${room}`, { init: ASKED + held });
  await viewer.until("the tap", () => [...document.querySelectorAll("button")].some((one) => one.textContent === "Tap for sound" && one.checkVisibility()));
  await plays(viewer);
  assert.equal(await viewer.evaluate(() => document.querySelector("video").muted), true);
  await viewer.click(".player-over button");
  await viewer.until("sound", () => !document.querySelector("video").muted);
  await viewer.press("m");
  await viewer.until("silence", () => document.querySelector("video").muted && document.querySelector('[aria-label="Sound on"]'));
  await viewer.press("m");
  await viewer.until("sound again", () => !document.querySelector("video").muted && document.querySelector('[aria-label="Sound off"]'));
  await viewer.click('[aria-label="Stop"]');
  await says(viewer, "Stopped");
  await viewer.click('[aria-label="Play"]');
  await plays(viewer);
  await viewer.press("f");
  await viewer.until("full screen", () => document.fullscreenElement?.matches(".player"));
  await viewer.press("f");
  await viewer.until("no full screen", () => !document.fullscreenElement);
  await viewer.press("p");
  await viewer.until("picture in picture", () => document.pictureInPictureElement === document.querySelector("video"));
  await viewer.press("p");
  assertQuiet(viewer);
});

test("the player says how many look on, and lets one choose among the qualities", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("audience");
  const viewer = await watches(t, "chromium", `${server.url}/watch/${room}`, { width: 1000, height: 700 });
  await viewer.until("one", () => document.querySelector(".player-viewers").innerText === "1 watching");
  await isLive(await broadcasts(t, "chromium", `${server.url}/publish/${room}`));
  await viewer.until("qualities", () => document.querySelector(".player select")?.checkVisibility() && document.querySelectorAll(".player option").length >= 3, undefined, 60_000);
  const names = await viewer.evaluate(() => [...document.querySelectorAll(".player option")].map(({ textContent }) => textContent));
  assert.equal(names[0], "Auto");
  const heights = names.slice(1).map((name) => Number(/^(\d+)p$/.exec(name)?.[1]));
  assert.deepEqual(heights, heights.toSorted((a, b) => b - a), names.join());
  const choose = (index) =>
    viewer.evaluate((index) => {
      const select = document.querySelector(".player select");
      select.selectedIndex = index;
      select.dispatchEvent(new Event("change"));
    }, index);
  const shows = (height) => viewer.until(`${height} lines`, (height) => document.querySelector("video").videoHeight === height, height, 60_000);
  await choose(names.length - 1);
  await shows(heights.at(-1));
  await choose(1);
  await shows(heights[0]);
  await choose(names.length - 1);
  await shows(heights.at(-1));
  if (process.env.SHOTS) await viewer.screenshot(`${process.env.SHOTS}/watch-qualities.png`);
  const second = await watches(t, "firefox", `${server.url}/watch/${room}`);
  await viewer.until("two", () => document.querySelector(".player-viewers").innerText === "2 watching");
  await second.until("two", () => document.querySelector(".player-viewers").innerText === "2 watching");
  // What was chosen stays so in the next session.
  await viewer.click('[aria-label="Stop"]');
  await viewer.click('[aria-label="Play"]');
  await plays(viewer);
  await shows(heights.at(-1));
  assert.equal(await viewer.evaluate(() => document.querySelector(".player select").selectedOptions[0].textContent), names.at(-1));
  assertQuiet(viewer, second);
});

test("a server that falls silent for a while is found again by an ICE restart, on the same session", { skip, timeout: 240_000 }, async (t) => {
  // One of its own: the others go on.
  const silent = await startServer("--topology sfu");
  t.after(() => silent.close());
  const room = roomFor("silent");
  const camera = await broadcasts(t, "chromium", `${silent.url}/publish/${room}`);
  await isLive(camera);
  const viewer = await watches(t, "chromium", `${silent.url}/watch/${room}`);
  await plays(viewer);
  // Candidates have gone by PATCH already.
  for (const page of [viewer, camera]) await page.evaluate(() => (globalThis.asked = asked.filter(({ method }) => method === "POST")));
  silent.signal("SIGSTOP");
  try {
    await says(viewer, "Connection interrupted");
    await viewer.until("the request for a restart", () => asked.some(({ method }) => method === "PATCH"));
    await camera.until("the same", () => asked.some(({ method }) => method === "PATCH"));
  } finally {
    silent.signal("SIGCONT");
  }
  await plays(viewer, 30);
  await isLive(camera);
  for (const page of [viewer, camera]) assert.equal(await page.evaluate(() => asked.filter(({ method }) => method === "POST").length), 1, page.browser);
});

test("a room that is ended begins again by itself while somebody broadcasts", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("ended");
  const camera = await broadcasts(t, "firefox", `${server.url}/publish/${room}`);
  await isLive(camera);
  const viewer = await watches(t, "chromium", `${server.url}/watch/${room}`);
  await plays(viewer);
  const ended = await fetch(`${server.url}/api/v1/rooms/${room}`, { method: "DELETE", headers: { Authorization: `Bearer ${ADMIN}` } });
  assert.equal(ended.status, 204);
  for (const page of [camera, viewer]) await page.until("another session", () => asked.filter(({ method }) => method === "POST").length >= 2, undefined, 60_000);
  await isLive(camera);
  await plays(viewer, 30);
});

test("a token stands behind the # and goes into no address", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("invited");
  const sign = (video) => new SignJWT({ video: { room, roomJoin: true, ...video } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setIssuedAt().setExpirationTime("10m").sign(new TextEncoder().encode(KEY));
  const [sees, sends] = [await sign({ canPublish: false }), await sign({ canSubscribe: false })];
  const uninvited = await watches(t, "chromium", `${closed.url}/watch/${room}`);
  await says(uninvited, "This needs an invitation");
  const camera = await broadcasts(t, "chromium", `${closed.url}/publish/${room}`);
  await camera.type("#token", sees);
  await camera.press("Enter");
  await camera.click("#go");
  await camera.until("the refusal", () => /may not broadcast/.test(document.querySelector(".problem").innerText));
  const again = await broadcasts(t, "chromium", `${closed.url}/publish/${room}#token=${sends}`);
  await isLive(again);
  const viewer = await watches(t, "chromium", `${closed.url}/watch/${room}#token=${sees}`);
  await plays(viewer);
  await again.click("summary");
  assert.doesNotMatch(await again.evaluate(() => document.querySelector(".encoders").innerText), new RegExp(sends), "it is copied, not shown");
  for (const page of [viewer, again]) {
    const asked = await page.evaluate(() => globalThis.asked.map(({ url }) => url).concat(performance.getEntriesByType("resource").map(({ name }) => name)));
    assert.ok(asked.length > 1);
    for (const url of asked) assert.doesNotMatch(url, /token|eyJ/, url);
  }
});

test("a page of another site embeds the player, and nothing else", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("embed");
  await isLive(await broadcasts(t, "chromium", `${server.url}/publish/${room}`));
  const policy = async (path) => (await fetch(`${server.url}${path}`)).headers.get("Content-Security-Policy");
  assert.match(await policy(`/watch/${room}?embed`), /frame-ancestors \*/);
  for (const path of [`/watch/${room}`, `/watch/${room}?embedded`, `/publish/${room}?embed`, "/admin?embed", `/${room}?embed`]) {
    assert.match(await policy(path), /frame-ancestors 'none'/, path);
  }
  const site = createServer((_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end(`<!doctype html><title>A site</title><iframe width="480" height="320" allow="autoplay; fullscreen; picture-in-picture" src="${server.url}/watch/${room}?embed&muted"></iframe>`));
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  t.after(() => site.close());
  const page = await browsers.chromium.newPage();
  t.after(() => page.close());
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  const frame = page.page.frames()[1];
  await frame.waitForFunction(() => document.querySelector("video")?.videoWidth > 0 && !document.querySelector(".topbar"), undefined, { timeout: 60_000 });
  assert.equal(await frame.evaluate(() => document.querySelector("video").muted), true);
});

test("both pages fit every width, pass axe in light and dark, and need no mouse", { skip, timeout: 300_000 }, async (t) => {
  const shot = async (page, name) => process.env.SHOTS && page.screenshot(`${process.env.SHOTS}/${name}.png`);
  for (const [width, height] of [[360, 640], [768, 1024], [1440, 900]]) {
    for (const dark of [false, true]) {
      const where = `${width}, dark: ${dark}`;
      const name = `${width}-${dark ? "dark" : "light"}`;
      const room = roomFor("fits");
      const options = { width, height, dark, reducedMotion: true };
      const viewer = await watches(t, "chromium", `${server.url}/watch/${room}`, options);
      await says(viewer, "Nothing is broadcast here yet");
      await assertAccessible(viewer, `watch, ${where}`);
      await assertFits(viewer, `watch, ${where}`);
      await shot(viewer, `watch-nothing-${name}`);
      const camera = await broadcasts(t, "chromium", `${server.url}/publish/${room}`, options);
      await isLive(camera);
      await camera.until("health", () => /Sending/.test(document.querySelector(".publish-health").innerText));
      await assertAccessible(camera, `publish, ${where}`);
      await assertFits(camera, `publish, ${where}`);
      await shot(camera, `publish-${name}`);
      await camera.evaluate(() => (document.querySelector("details").open = true));
      await assertAccessible(camera, `publish, other programs, ${where}`);
      await assertFits(camera, `publish, other programs, ${where}`);
      await camera.evaluate(() => document.querySelector("details").scrollIntoView());
      await shot(camera, `publish-programs-${name}`);
      await plays(viewer);
      await viewer.press("i");
      await viewer.until("delay", () => /\d+ ms/.test(document.querySelector(".player-delay").textContent));
      await assertAccessible(viewer, `watch, live, ${where}`);
      await assertFits(viewer, `watch, live, ${where}`);
      await shot(viewer, `watch-live-${name}`);
      await Promise.all([camera.close(), viewer.close()]);
    }
  }
});

test("everything on both pages is reached with the keyboard, and named", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("keys");
  const walk = async (page, last) => {
    const names = [];
    for (let i = 0; i < 30 && names.at(-1) !== last; i += 1) {
      await page.press("Tab");
      names.push(await page.evaluate(() => { const one = document.activeElement; return one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent.trim() ?? one.textContent.trim(); }));
    }
    return names;
  };
  const viewer = await watches(t, "chromium", `${server.url}/watch/${room}`);
  await says(viewer, "Nothing is broadcast here yet");
  assert.deepEqual(await walk(viewer, "Full screen"), ["Twocan", "Stop", "Sound off", "Statistics", "Picture in picture", "Full screen"]);
  const camera = await browsers.chromium.newPage({ init: SMALL });
  t.after(() => camera.close());
  await camera.goto(`${server.url}/publish/${room}`);
  await camera.until("the camera's picture", () => !document.querySelector(".preview video")?.hidden);
  const names = await walk(camera, "From another program: OBS, ffmpeg, GStreamer");
  assert.deepEqual(names.slice(0, 8), ["Twocan", "Turn off microphone", "Start the broadcast", "Camera", "Camera", "Microphone", "Microphone", "Quality"]);
  await camera.page.focus("#go");
  await camera.press("Enter");
  await isLive(camera);
  await camera.until("it is said", () => [...document.querySelectorAll("[aria-live]")].some(({ textContent }) => /You are live/.test(textContent)));
  await viewer.until("it is said", () => [...document.querySelectorAll("[aria-live]")].some(({ textContent }) => /is live/.test(textContent)));
});
