// A client of the base protocol, as the tutorial has it, with the meeting page and without.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { launch, until } from "./driver.mjs";
import { PROBE, joinRoom, roomFor, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";
import { tutorialClient } from "./tutorial-client.mjs";

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await launch("chromium");
});
after(async () => {
  await browser?.close();
  server?.close();
});

const socketUrl = (room, path = "webrtc") => `${server.url.replace(/^http/, "ws")}/${path}/${room}`;

/** A base client without a browser: every text that it was sent, in order. */
async function baseClient(t, url) {
  const socket = new WebSocket(url);
  t.after(() => socket.terminate());
  const texts = [];
  socket.on("message", (bytes, isBinary) => texts.push(isBinary ? bytes : bytes.toString()));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return {
    socket,
    texts,
    send: (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
    /** The first frame with this event, removed. */
    next: (event) =>
      until(`${event} among ${JSON.stringify(texts)}`, () => {
        const index = texts.findIndex((text) => (event === "pong" ? text === "pong" : text !== "pong" && JSON.parse(text).event === event));
        return index >= 0 && (event === "pong" ? texts.splice(index, 1)[0] : JSON.parse(texts.splice(index, 1)[0]));
      }, 5_000),
  };
}

test("base clients get exactly the four keys, and nothing that they did not ask for", async (t) => {
  const room = roomFor("base");
  const first = await baseClient(t, socketUrl(room));
  const own = await first.next("authenticated");
  const id = own.data.peer_id;
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(own, { data: { peer_id: id }, event: "authenticated", from: null, to: [id] });

  const second = await baseClient(t, socketUrl(room, "socket") + "/");
  const { data } = await second.next("authenticated");
  assert.deepEqual(await first.next("joined"), { data: { peer_id: data.peer_id }, event: "joined", from: data.peer_id, to: "all" });

  // `from` and other keys of a client are dropped; the sender's own id in a list is delivered back.
  first.send({ event: "offer", data: { type: "offer", sdp: "x" }, to: [data.peer_id, id], from: "someone else", extra: 1 });
  const relayed = { data: { type: "offer", sdp: "x" }, event: "offer", from: id, to: [data.peer_id, id] };
  assert.deepEqual(await second.next("offer"), relayed);
  assert.deepEqual(await first.next("offer"), relayed);
  second.send({ event: "anything", data: [1, null, "é"], to: "all" });
  assert.deepEqual(await first.next("anything"), { data: [1, null, "é"], event: "anything", from: data.peer_id, to: "all" });

  second.socket.close();
  assert.deepEqual(await first.next("left"), { data: { peer_id: data.peer_id }, event: "left", from: null, to: "all" });
});

test("what a base client gets wrong is said, and the connection stays", async (t) => {
  const first = await baseClient(t, socketUrl(roomFor("wrong")));
  const { data } = await first.next("authenticated");
  const invalid = { data: { description: "Invalid message" }, event: "error", from: null, to: [data.peer_id] };
  for (const frame of [{ data: 1 }, { event: 7, to: "all" }, { event: "x" }, { event: "x", to: 5 }, { event: "x", to: "someone" }]) {
    first.send(frame);
    const { details, ...rest } = (await first.next("error")).data;
    assert.deepEqual({ ...invalid, data: rest }, invalid, JSON.stringify(frame));
    assert.equal(details, undefined);
  }
  first.send("{oops");
  assert.deepEqual(await first.next("error"), { data: { description: "Invalid JSON", details: "{oops" }, event: "error", from: null, to: null });
  first.socket.send(Buffer.from([1, 2, 3]), { binary: true });
  first.send({ event: "x", data: 0, to: ["00000000-0000-4000-8000-000000000000"] }); // nobody: not told
  first.send("ping");
  await first.next("pong");
  assert.deepEqual(first.texts, []);
});

test("the tutorial's client and the meeting page see each other, whoever is there first", async (t) => {
  for (const first of ["page", "tutorial"]) {
    await t.test(`${first} first`, async (t) => {
      const room = roomFor(`tutorial-${first}`);
      const page = await browser.newPage({ init: PROBE });
      const tutorial = await browser.newPage();
      t.after(() => Promise.all([page.close(), tutorial.close()]));
      const joinTutorial = async () => {
        await tutorial.goto(`${server.url}/`);
        await tutorial.evaluate(tutorialClient, { url: socketUrl(room) });
        await tutorial.until("authenticated and a pong", () => globalThis.tutorial.id !== "" && globalThis.tutorial.pongs > 0);
      };
      if (first === "tutorial") await joinTutorial();
      await joinRoom(page, server.url, room, "Ada");
      if (first === "page") await joinTutorial();

      await seesPicturesOf(page, 1);
      await tutorial.until("the page's picture in the tutorial", () => {
        const video = document.querySelector("video[id^=tutorial-]");
        return Boolean(video && video.videoWidth > 0 && video.currentTime > 0);
      });
      const offers = await tutorial.evaluate(() => globalThis.tutorial.events.filter((event) => event === "offer").length);
      assert.equal(offers, first === "page" ? 1 : 0, "one description each way, never a second offer");

      // A camera off and on again, and a screen, must not make a second offer to such a client.
      await page.press("v");
      await page.press("v");
      await page.until("camera on", () => document.querySelector('[data-action="camera"]').getAttribute("aria-label") === "Turn off camera");
      await page.click(".round.leave");
      await tutorial.until("left", () => Object.keys(globalThis.tutorial.connections).length === 0);
      assert.deepEqual(await tutorial.evaluate(() => globalThis.tutorial.events.filter((event) => event === "offer").length), offers);
    });
  }
});
