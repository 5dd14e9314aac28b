// HTTPS by the server itself and by a proxy before it: browsers, the native program, and what the server says of addresses.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import { launch, until } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, decodedFrames, joinRoom, readsChat, roomFor, scratch, seesPicturesOf, writeChat } from "./meeting.mjs";
import { BINARY, start, withoutBinary } from "./native.mjs";
import { startReverseProxy } from "./reverse-proxy.mjs";

const skip = withoutBinary;
/** Under this name the browser finds this machine; programs that are no browser do not know it. */
const ALIAS = "meet.test";
/** Where the client of a proxy is said to be. */
const ELSEWHERE = "203.0.113.7";

let browser;
before(async () => {
  if (!skip) browser = await launch("chromium", { anyCertificate: true, alias: ALIAS });
});
after(() => browser?.close());

/** The binary with HTTPS or behind something that has it, and where its page is. */
async function serve(t, args, env = {}) {
  const server = start(t, BINARY, ["serve", "--http", "127.0.0.1:0", "--no-stun", "--log-format", "json", ...args], env);
  const [, url] = await server.says(/"page":"(https?:\/\/localhost:\d+)/);
  return { ...server, url, port: Number(new URL(url).port) };
}

/** What the certificate that is served calls itself. @param {number} port @param {string} [ca] that is believed */
function servedName(port, ca) {
  return new Promise((done, fail) => {
    const socket = connect({ port, host: "127.0.0.1", servername: "localhost", rejectUnauthorized: Boolean(ca), ca }, () => {
      done(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on("error", fail);
  });
}

/** An authority of this test's own, and certificates for `localhost` from it. @param {string} folder */
function authority(folder) {
  const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Authority", "-days", "2");
  return {
    file: join(folder, "ca.pem"),
    /** Certificate chain and key. @param {string} name */
    make(name) {
      openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
      writeFileSync(join(folder, "names"), `subjectAltName=DNS:localhost,DNS:${ALIAS},IP:127.0.0.1\nbasicConstraints=CA:FALSE\n`);
      openssl("x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", `${name}.crt`, "-days", "1", "-extfile", "names");
      return { certificate: readFileSync(join(folder, `${name}.crt`)), key: readFileSync(join(folder, `${name}.key`)) };
    },
  };
}

/** Two who see each other at `base`. */
async function pair(t, base) {
  const room = roomFor("secure");
  const ada = await browser.newPage({ init: PROBE + SMALL, width: 640, height: 480 });
  const grace = await browser.newPage({ init: PROBE + SMALL, width: 640, height: 480 });
  t.after(() => Promise.all([ada.close(), grace.close()]));
  await joinRoom(ada, base, room, "Ada");
  await joinRoom(grace, base, room, "Grace");
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(grace, 1)]);
  return { ada, grace, room };
}

test("with a self-signed certificate two see each other, and the native echo joins when told to accept it", { skip }, async (t) => {
  const server = await serve(t, ["--tls-self-signed"]);
  const { ada, grace, room } = await pair(t, server.url);
  assert.equal(await ada.evaluate(() => isSecureContext && location.protocol), "https:");

  const wary = start(t, BINARY, ["join", `${server.url}/${room}`, "--echo"]);
  assert.notEqual(await wary.ended, 0, "not without being told");
  assert.match(wary.err.join("\n"), /certificate/i);

  // As a page's address and as a WebSocket's.
  for (const url of [`${server.url}/${room}`, `${server.url.replace(/^https/, "wss")}/${room}`]) {
    const echo = start(t, BINARY, ["join", url, "--accept-self-signed", "--echo"]);
    await echo.says(/^joined as /);
    await Promise.all([seesPicturesOf(ada, 2), seesPicturesOf(grace, 2)]);
    await writeChat(ada, `By ${url.slice(0, 5)}`);
    await readsChat(ada, `By ${url.slice(0, 5)}`);
    assert.equal(await echo.stop(), 0);
    await ada.until("the echo gone", () => document.querySelectorAll(".tile.person").length === 1);
  }
  assertQuiet(ada, grace);
});

test("certificates from files are read again when they change, and a call goes on meanwhile", { skip }, async (t) => {
  const { folder } = scratch(t);
  const ca = authority(folder);
  const [certificate, key] = [join(folder, "chain.pem"), join(folder, "key.pem")];
  const put = (made) => (writeFileSync(certificate, made.certificate), writeFileSync(key, made.key));
  const [first, second] = [ca.make("first"), ca.make("second")];
  put(first);
  const server = await serve(t, ["--tls-cert", certificate, "--tls-key", key]);
  const authorities = readFileSync(ca.file, "utf8");
  assert.equal(await servedName(server.port, authorities), "first");

  // Who knows the authority need not be told to accept anything.
  const { ada, grace, room } = await pair(t, server.url);
  const echo = start(t, BINARY, ["join", `${server.url}/${room}`, "--echo"], { SSL_CERT_FILE: ca.file });
  await echo.says(/^joined as /);
  await seesPicturesOf(ada, 2);
  const stranger = start(t, BINARY, ["join", `${server.url}/${room}`, "--echo"]);
  assert.notEqual(await stranger.ended, 0);
  assert.match(stranger.err.join("\n"), /certificate/i);

  writeFileSync(certificate, second.certificate); // half of a pair
  await server.says(/new certificate cannot be used/, 15_000);
  assert.equal(await servedName(server.port, authorities), "first");
  put(second);
  await server.says(/certificate read again/, 15_000);
  assert.equal(await servedName(server.port, authorities), "second");
  writeFileSync(key, "nonsense");
  await until("a second complaint", () => server.err.filter((line) => /new certificate cannot be used/.test(line)).length === 2, 15_000);
  assert.equal(await servedName(server.port, authorities), "second");

  const frames = (await decodedFrames(ada)).map((count) => count + 10);
  await seesPicturesOf(ada, 2, Math.max(...frames));
  await writeChat(grace, "Nothing happened here");
  await readsChat(ada, "Nothing happened here");
  assert.equal(await echo.stop(), 0);
  const late = await browser.newPage({ init: PROBE + SMALL, width: 640, height: 480 });
  t.after(() => late.close());
  await joinRoom(late, server.url, room, "Late");
  await seesPicturesOf(late, 2);
  assertQuiet(ada, grace, late);
});

test("half a certificate ends the start with words, and so does one that is not there", { skip }, async (t) => {
  for (const [args, words] of [
    [["--tls-cert", "/nowhere/chain.pem"], /tls.key/],
    [["--tls-cert", "/nowhere/chain.pem", "--tls-key", "/nowhere/key.pem"], /certificate|key|TLS/i],
    [["--tls-self-signed", "--tls-cert", "/nowhere/chain.pem", "--tls-key", "/nowhere/key.pem"], /self.signed/],
  ]) {
    const server = start(t, BINARY, ["serve", "--http", "127.0.0.1:0", "--no-stun", ...args]);
    assert.notEqual(await server.ended, 0);
    assert.match(server.err.join("\n"), words);
  }
});

/** Status of `path` of the server, asked directly. */
function status(port, path, headers) {
  return new Promise((done, fail) => {
    get({ host: "127.0.0.1", port, path, headers }, (response) => (response.resume(), done(response.statusCode))).on("error", fail);
  });
}

test("behind a proxy with HTTPS two see each other, and the server knows who they are", { skip }, async (t) => {
  const { folder } = scratch(t);
  const made = authority(folder).make("proxy");
  const server = await serve(t, ["--trusted-proxy", "127.0.0.1", "--log", "twocan=debug,info"]);
  const proxy = await startReverseProxy(server.port, createServer({ cert: made.certificate, key: made.key }), ELSEWHERE);
  t.after(() => proxy.close());
  const { ada, grace } = await pair(t, `https://${ALIAS}:${proxy.port}`);
  assertQuiet(ada, grace);

  await server.says(new RegExp(`signaling opened.*"client":"${ELSEWHERE}"|"client":"${ELSEWHERE}".*signaling opened`));
  assert.ok(!server.err.some((line) => line.includes("signaling opened") && line.includes('"client":"127.0.0.1"')), "nobody looks like the proxy");

  // What is open to this machine alone is not open through the proxy, whatever the client claims of itself.
  assert.equal(await status(server.port, "/metrics", {}), 200);
  assert.equal(await status(server.port, "/metrics", { "x-forwarded-for": "unknown" }), 403);
  for (const claimed of [undefined, "127.0.0.1", "::1", "127.0.0.1, 127.0.0.1"]) {
    assert.equal(await proxy.status("/metrics", claimed ? { "x-forwarded-for": claimed } : {}), 403, `claims ${claimed}`);
  }
});

test("what an unnamed proxy says of addresses is not believed", { skip }, async (t) => {
  const server = await serve(t, ["--log", "twocan=debug,info"]);
  assert.equal(await status(server.port, "/metrics", { "x-forwarded-for": ELSEWHERE }), 200);
  // Nor of hosts: the page's origin is not the server's.
  const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
  const origin = { origin: `https://${ALIAS}`, "x-forwarded-host": ALIAS };
  assert.equal(await status(server.port, "/a-room", { ...upgrade, ...origin }), 403);
});

test("who has the wrong address for TLS is told which would be right", { skip }, async (t) => {
  const secure = await serve(t, ["--tls-self-signed"]);
  const plain = await serve(t, []);
  for (const [url, words] of [
    [`https://localhost:${secure.port}/a-room`, /--accept-self-signed/],
    [`http://localhost:${secure.port}/a-room`, /https:\/\//],
    [`https://localhost:${plain.port}/a-room`, /begins with http:\/\//],
  ]) {
    const native = start(t, BINARY, ["join", url, "--echo"]);
    assert.notEqual(await native.ended, 0);
    assert.match(native.err.join("\n"), words, url);
  }
});
