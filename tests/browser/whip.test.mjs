// WHIP (RFC 9725) and WHEP: row by row over HTTP, and with media of browsers.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "./driver.mjs";
import { PROBE_EACH, SMALL, hears, joinRoom, roomFor, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server has neither";
const SDP = "application/sdp";
const FRAGMENT = "application/trickle-ice-sdpfrag";
const SECRET = "north-star";

let server;
let closed;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  closed = await startServer(`--topology sfu --secret ${SECRET} --stun-url stun:stun.example.org --turn-url turn:turn.example.org --turn-secret x --allowed-origin https://page.example`);
  chromium = await launch("chromium");
  firefox = await launch("firefox");
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  server?.close();
  closed?.close();
});

/** ffmpeg with its WHIP muxer: `FFMPEG`, or that of PyPI, which the interop tests install. */
function ffmpeg() {
  if (process.env.FFMPEG) return process.env.FFMPEG;
  const tools = process.env.TWOCAN_TOOLS ?? fileURLToPath(new URL("../../.tools", import.meta.url));
  const python = `${tools}/interop/py/bin/python`;
  if (!existsSync(python)) return null;
  try {
    return execFileSync(python, ["-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"], { encoding: "utf8" }).trim();
  } catch {
    return null;
  }
}

test("ffmpeg publishes, and the meeting page shows it", { skip: skip || (ffmpeg() ? false : "no ffmpeg 8 or later: set FFMPEG, or run tests/interop/install.sh pypi"), timeout: 120_000 }, async (t) => {
  const room = roomFor("ffmpeg");
  const ada = await chromium.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
  t.after(() => ada.close());
  await joinRoom(ada, server.url, room, "Ada");
  const picture = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=15"];
  const sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"];
  const video = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "30"];
  const audio = ["-c:a", "libopus", "-ac", "2"];
  const words = ["-hide_banner", "-loglevel", "warning", "-re", ...picture, ...sound, "-t", "60", ...video, ...audio, "-f", "whip", `${server.url}/whip/${room}`];
  const child = spawn(ffmpeg(), words, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (bytes) => (said += bytes));
  t.after(() => child.kill("SIGKILL"));
  const shown = Promise.all([seesPicturesOf(ada, 1), hears(ada, 1)]);
  await shown.catch((error) => assert.fail(`${error.message}\n${said}`));
  // It deletes its session when it is told to end.
  child.kill("SIGINT");
  await ada.until("nobody is left", () => document.querySelectorAll(".tile.person").length === 0);
});

/** Publishes from a page; what it did is `globalThis.whip`. */
const publish = (page, url, simulcast) =>
  page.evaluate(
    async ({ url, simulcast }) => {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360, frameRate: 10 } });
      const connection = new RTCPeerConnection();
      for (const track of stream.getTracks()) {
        const sendEncodings = simulcast && track.kind === "video" ? [{ rid: "l", scaleResolutionDownBy: 2 }, { rid: "h" }] : undefined;
        connection.addTransceiver(track, { direction: "sendonly", streams: [stream], ...(sendEncodings ? { sendEncodings } : {}) });
      }
      await connection.setLocalDescription();
      const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: connection.localDescription.sdp });
      await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
      globalThis.whip = { connection, location: new URL(response.headers.get("Location"), url).href, etag: response.headers.get("ETag") };
      return { status: response.status, location: globalThis.whip.location, etag: globalThis.whip.etag };
    },
    { url, simulcast },
  );

/** Plays on a page. */
const play = (page, url) =>
  page.evaluate(async (url) => {
    const connection = new RTCPeerConnection();
    for (const kind of ["audio", "video"]) connection.addTransceiver(kind, { direction: "recvonly" });
    await connection.setLocalDescription();
    const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: connection.localDescription.sdp });
    await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
    globalThis.whep = { connection, location: new URL(response.headers.get("Location"), url).href };
    return { status: response.status, location: globalThis.whep.location, link: response.headers.get("Link") };
  }, url);

const decoded = (page) =>
  page.evaluate(async () => {
    const all = [...(await globalThis.whep.connection.getStats()).values()].filter(({ type }) => type === "inbound-rtp");
    const of = (wanted, field) => all.find(({ kind }) => kind === wanted)?.[field] ?? 0;
    return { pictures: of("video", "framesDecoded"), sounds: of("audio", "packetsReceived") };
  });

const plays = (page, pictures = 20) =>
  page.until(
    `${pictures} pictures and sound`,
    async (least) => {
      const all = [...(await globalThis.whep.connection.getStats()).values()].filter(({ type }) => type === "inbound-rtp");
      const of = (wanted, field) => all.find(({ kind }) => kind === wanted)?.[field] ?? 0;
      return of("video", "framesDecoded") >= least && of("audio", "packetsReceived") >= 50;
    },
    pictures,
    60_000,
  );

for (const [from, to] of [["chromium", "firefox"], ["firefox", "chromium"]]) {
  test(`${from} publishes, ${to} plays, and the meeting page shows it`, { skip, timeout: 180_000 }, async (t) => {
    const browsers = { chromium, firefox };
    const room = roomFor("whip");
    const [camera, player, ada] = await Promise.all([
      browsers[from].newPage(),
      browsers[to].newPage(),
      chromium.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL }),
    ]);
    t.after(() => Promise.all([camera.close(), player.close(), ada.close()]));
    await camera.goto(server.url);
    await player.goto(server.url);
    await joinRoom(ada, server.url, room, "Ada");
    const published = await publish(camera, `${server.url}/whip/${room}`, true);
    assert.equal(published.status, 201);
    assert.match(published.etag, /^"[^"]+"$/);
    const played = await play(player, `${server.url}/whep/${room}`);
    assert.equal(played.status, 201);
    await plays(player);
    await seesPicturesOf(ada, 1);
    assert.equal(await ada.evaluate(() => document.querySelectorAll(".tile.person").length), 1, "who plays is shown to nobody");
    assert.equal((await fetch(published.location, { method: "DELETE" })).status, 200);
    await ada.until("nobody is left", () => document.querySelectorAll(".tile.person").length === 0);
    assert.equal((await fetch(published.location, { method: "DELETE" })).status, 404);
    // Somebody publishes again: the player goes on, on the same lines.
    const before = (await decoded(player)).pictures;
    const again = await publish(camera, `${server.url}/whip/${room}`, false);
    assert.equal(again.status, 201);
    await plays(player, before + 10);
  });
}

test("a player hears how many look on and which layers there are, and chooses among them", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("layers");
  const [camera, player] = await Promise.all([chromium.newPage(), chromium.newPage()]);
  t.after(() => Promise.all([camera.close(), player.close()]));
  await camera.goto(server.url);
  await player.goto(server.url);
  const { location, link } = await play(player, `${server.url}/whep/${room}`);
  const sse = `${location}/sse`;
  assert.match(link, new RegExp(`<${new URL(sse).pathname}>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="active,inactive,layers,reconnect,viewercount"`));
  assert.match(link, new RegExp(`<${new URL(location).pathname}/layer>; rel="urn:ietf:params:whep:ext:core:layer"`));
  const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const listen = (url) =>
    player.evaluate((url) => {
      const told = [];
      const source = new EventSource(url);
      for (const name of ["active", "inactive", "layers", "reconnect", "viewercount"]) source.addEventListener(name, ({ data }) => told.push([name, JSON.parse(data)]));
      (globalThis.listening ??= []).push({ told, source });
    }, url);
  const told = () => player.evaluate(() => globalThis.listening.map(({ told }) => told));
  const hears = (what, name, text) =>
    player.until(what, ([name, text]) => globalThis.listening[0].told.some(([own, data]) => own === name && JSON.stringify(data).includes(text)), [name, text], 30_000);

  const all = await fetch(sse, { method: "POST" });
  assert.equal(all.status, 201);
  await listen(new URL(all.headers.get("Location"), sse).href);
  await hears("who looks on", "viewercount", '{"viewercount":1}');
  assert.deepEqual((await told())[0], [["viewercount", { viewercount: 1 }]], "nothing is said of what has not begun");
  const some = await fetch(sse, json(["viewercount", "of-another-version"]));
  const stream = new URL(some.headers.get("Location"), sse).href;
  await listen(stream);

  const published = await publish(camera, `${server.url}/whip/${room}`, true);
  await hears("that something is broadcast", "active", "{}");
  await hears("the layers", "layers", '"height":360');
  const line = (await told())[0].filter(([name]) => name === "layers").at(-1)[1]["1"];
  assert.deepEqual([...new Set(line.map(({ rid, height }) => `${rid} ${height}`))], ["l 180", "h 360"], "the picture is the second section");

  const layer = `${location}/layer`;
  const choose = async (body) => (await fetch(layer, json(body))).status;
  const sees = (height) =>
    player.until(
      `a picture of ${height} lines`,
      async (height) => {
        const all = [...(await globalThis.whep.connection.getStats()).values()].filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
        return all.some(({ frameHeight }) => frameHeight === height);
      },
      height,
      30_000,
    );
  await sees(360);
  for (const [choice, height] of [[{ mediaId: "1", rid: "l" }, 180], [{ mediaId: 1, encodingId: "h" }, 360], [{ maxHeight: 200 }, 180], [{}, 360]]) {
    assert.equal(await choose(choice), 200, JSON.stringify(choice));
    await sees(height);
  }
  for (const wrong of [{ rid: "x" }, { mediaId: "0", rid: "l" }, { mediaId: "9" }]) assert.equal(await choose(wrong), 422, JSON.stringify(wrong));
  assert.equal(await choose("l"), 400);
  assert.equal((await fetch(layer, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{" })).status, 400);
  for (const url of [layer, sse]) {
    assert.equal((await fetch(url, { method: "POST", headers: { "Content-Type": "text/plain" }, body: "{}" })).status, 415);
    assert.equal((await fetch(url)).status, 405);
    assert.equal((await fetch(url.replace(/whep\/[^/]+\/[^/]+/, `whep/${room}/none`), { method: "POST" })).status, 404);
    const { status, headers } = await fetch(url, { method: "OPTIONS" });
    assert.deepEqual([status, headers.get("Accept-Post")], [204, "application/json"]);
  }

  const other = await play(camera, `${server.url}/whep/${room}`);
  await hears("another one", "viewercount", '{"viewercount":2}');
  assert.equal((await fetch(other.location, { method: "DELETE" })).status, 200);
  await player.until("it gone", () => globalThis.listening[0].told.filter(([name]) => name === "viewercount").at(-1)[1].viewercount === 1);
  assert.equal((await fetch(published.location, { method: "DELETE" })).status, 200);
  await hears("the end", "inactive", "{}");
  assert.deepEqual([...new Set((await told())[1].map(([name]) => name))], ["viewercount"], "nothing that was not asked for");

  assert.equal((await fetch(stream, { method: "DELETE" })).status, 200);
  assert.equal((await fetch(stream, { method: "DELETE" })).status, 404);
  assert.equal((await fetch(stream)).status, 404);
  assert.equal((await fetch(location, { method: "DELETE" })).status, 200);
  await player.until("both streams at their end", () => globalThis.listening.every(({ source }) => source.readyState === EventSource.CLOSED), undefined, 30_000);
});

test("a publisher whose page is closed is gone", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("gone");
  const camera = await chromium.newPage();
  const ada = await chromium.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
  t.after(() => ada.close());
  await camera.goto(server.url);
  await joinRoom(ada, server.url, room, "Ada");
  const { location } = await publish(camera, `${server.url}/whip/${room}`, false);
  await seesPicturesOf(ada, 1);
  await camera.evaluate(() => globalThis.whip.connection.close());
  await ada.until("nobody is left", () => document.querySelectorAll(".tile.person").length === 0);
  // Who says goodbye by DTLS may delete afterwards, once.
  assert.equal((await fetch(location, { method: "DELETE" })).status, 200);
  assert.equal((await fetch(location, { method: "DELETE" })).status, 404);
  await camera.close();
});

test("an ICE restart by PATCH keeps the session", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("restart");
  const camera = await chromium.newPage();
  const player = await chromium.newPage();
  t.after(() => Promise.all([camera.close(), player.close()]));
  await camera.goto(server.url);
  await player.goto(server.url);
  await publish(camera, `${server.url}/whip/${room}`, false);
  await play(player, `${server.url}/whep/${room}`);
  await plays(player);
  const result = await camera.evaluate(async () => {
    const { connection, location, etag } = globalThis.whip;
    const offer = await connection.createOffer({ iceRestart: true });
    const value = (sdp, name) => new RegExp(`^a=${name}:(.*)$`, "m").exec(sdp)[1].trim();
    await connection.setLocalDescription(offer);
    const fragment = `a=ice-ufrag:${value(offer.sdp, "ice-ufrag")}\r\na=ice-pwd:${value(offer.sdp, "ice-pwd")}\r\n`;
    const response = await fetch(location, {
      method: "PATCH",
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" },
      body: fragment,
    });
    const ours = await response.text();
    const before = connection.currentRemoteDescription.sdp;
    const sdp = before
      .replace(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${value(ours, "ice-ufrag")}`)
      .replace(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${value(ours, "ice-pwd")}`);
    await connection.setRemoteDescription({ type: "answer", sdp });
    return { status: response.status, etag: response.headers.get("ETag"), before: etag, kind: response.headers.get("Content-Type"), changed: sdp !== before };
  });
  assert.equal(result.status, 200);
  assert.equal(result.kind, FRAGMENT);
  assert.notEqual(result.etag, result.before);
  assert.ok(result.changed);
  await camera.until("connected anew", () => globalThis.whip.connection.iceConnectionState === "connected");
  const before = (await decoded(player)).pictures;
  await plays(player, before + 20);
});

/** An offer that a browser would make. */
const offer = (page) =>
  page.evaluate(async () => {
    const connection = new RTCPeerConnection();
    connection.addTransceiver("audio", { direction: "sendonly" });
    return (await connection.createOffer()).sdp;
  });

test("every row of RFC 9725 that needs no media", { skip, timeout: 120_000 }, async (t) => {
  const page = await chromium.newPage();
  t.after(() => page.close());
  await page.goto(server.url);
  const sdp = await offer(page);
  const room = `${closed.url}/whip/${roomFor("rows")}`;
  const bearer = { Authorization: `Bearer ${SECRET}` };
  const post = (body, headers = {}) => fetch(room, { method: "POST", body, headers: { "Content-Type": SDP, ...bearer, ...headers } });

  const denied = await fetch(room, { method: "POST", body: sdp, headers: { "Content-Type": SDP } });
  assert.equal(denied.status, 401);
  assert.equal(denied.headers.get("WWW-Authenticate"), 'Bearer realm="twocan"');
  for (const method of ["GET", "HEAD", "PUT", "DELETE", "PATCH"]) {
    const response = await fetch(room, { method, headers: bearer });
    assert.equal(response.status, 405, method);
    assert.match(response.headers.get("Allow"), /POST/);
  }
  const options = await fetch(room, { method: "OPTIONS" });
  assert.equal(options.status, 204);
  assert.equal(options.headers.get("Accept-Post"), SDP);
  const preflight = await fetch(room, { method: "OPTIONS", headers: { Origin: "https://page.example", "Access-Control-Request-Method": "POST" } });
  assert.equal(preflight.headers.get("Access-Control-Allow-Origin"), "https://page.example");
  assert.match(preflight.headers.get("Access-Control-Allow-Headers"), /Authorization/);
  assert.equal((await fetch(room, { method: "OPTIONS", headers: { Origin: "https://other.example" } })).status, 403);
  const wrong = await post(sdp, { "Content-Type": "text/plain" });
  assert.equal(wrong.status, 415);
  assert.equal(wrong.headers.get("Accept-Post"), SDP);
  assert.equal((await post("nonsense")).status, 400);
  assert.equal((await post(sdp.replaceAll("sendonly", "inactive"))).status, 422);
  assert.equal((await post(sdp.replace(/^a=fingerprint:.*$/gm, "a=x"))).status, 422);
  assert.equal((await post(`${sdp}${"a=x\r\n".repeat(60_000)}`)).status, 413);

  const created = await post(sdp);
  assert.equal(created.status, 201);
  assert.equal(created.headers.get("Content-Type"), SDP);
  const etag = created.headers.get("ETag");
  assert.match(etag, /^"[^"]+"$/);
  assert.match(created.headers.get("Link"), /<stun:stun\.example\.org>; rel="ice-server"/);
  assert.match(created.headers.get("Link"), /<turn:turn\.example\.org>; rel="ice-server"; username="\d+:[^"]+"; credential="[^"]+"; credential-type="password"/);
  const answer = await created.text();
  assert.match(answer, /^a=recvonly/m);
  assert.match(answer, /^a=candidate:/m);
  assert.match(answer, /^a=ice-lite/m);
  const session = new URL(created.headers.get("Location"), room).href;

  const ufrag = /^a=ice-ufrag:(.*)$/m.exec(sdp)[1].trim();
  const fragment = `a=ice-ufrag:${ufrag}\r\na=mid:0\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n`;
  const patch = (body, headers = {}) => fetch(session, { method: "PATCH", body, headers: { "Content-Type": FRAGMENT, ...bearer, ...headers } });
  assert.equal((await patch(fragment)).status, 428);
  assert.equal((await patch(fragment, { "If-Match": '"another"' })).status, 412);
  assert.equal((await patch(fragment, { "If-Match": etag, "Content-Type": SDP })).status, 415);
  assert.equal((await patch("nonsense", { "If-Match": etag })).status, 400);
  assert.equal((await patch(fragment, { "If-Match": etag })).status, 204);
  assert.equal((await fetch(session, { method: "PATCH", body: fragment, headers: { "Content-Type": FRAGMENT, "If-Match": etag } })).status, 401);
  const restart = await patch("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n", { "If-Match": "*" });
  assert.equal(restart.status, 200);
  assert.equal(restart.headers.get("Content-Type"), FRAGMENT);
  assert.notEqual(restart.headers.get("ETag"), etag);
  assert.match(await restart.text(), /^a=ice-ufrag:/m);
  assert.equal((await patch(fragment, { "If-Match": etag })).status, 412);
  for (const method of ["GET", "HEAD", "PUT", "POST"]) {
    assert.equal((await fetch(session, { method, headers: bearer })).status, 405, method);
  }
  assert.equal((await fetch(session, { method: "DELETE" })).status, 401);
  assert.equal((await fetch(session, { method: "DELETE", headers: bearer })).status, 200);
  assert.equal((await fetch(session, { method: "DELETE", headers: bearer })).status, 404);
});
