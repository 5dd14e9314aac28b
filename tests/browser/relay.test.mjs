// Calls that may use nothing but our own TURN server, with the credentials that the room gives.
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, hears, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { BINARY, start, withoutBinary } from "./native.mjs";

// The server names itself to clients only where it is not on loopback, where nobody would need it.
const address = Object.values(networkInterfaces()).flat().find(({ family, internal }) => family === "IPv4" && !internal)?.address;
const skip = withoutBinary || (!address && "no address besides loopback");

/** Every connection of the page is relayed, by servers whose URL has these words. @param {string} words */
const relayOnly = (words) => `
  const Connection = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Connection {
    constructor({ iceServers = [], ...rest } = {}) {
      super({ ...rest, iceServers: iceServers.map(only), iceTransportPolicy: "relay" });
    }
    setConfiguration({ iceServers = [], ...rest }) {
      super.setConfiguration({ ...rest, iceServers: iceServers.map(only) });
    }
  };
  const only = ({ urls, ...server }) => {
    const some = [urls].flat().filter((url) => url.includes(${JSON.stringify(words)}));
    return { ...server, urls: some.length ? some : urls };
  };
  globalThis.selected = async () => {
    const kinds = [];
    for (const { connection } of document.querySelector("call-view").room.peers.values()) {
      const stats = await connection.getStats();
      const pairs = [...stats.values()].filter(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
      for (const pair of pairs) {
        const { candidateType, relayProtocol } = stats.get(pair.localCandidateId);
        kinds.push([candidateType, relayProtocol, stats.get(pair.remoteCandidateId).candidateType]);
      }
    }
    return kinds;
  };
`;

let server;
const browsers = {};
before(async () => {
  if (skip) return;
  browsers.chromium = await launch("chromium");
  browsers.firefox = await launch("firefox");
});
after(() => Promise.all(Object.values(browsers).map((browser) => browser.close())));

/** The binary with a TURN server, nothing else said. */
async function serve(t, ...words) {
  server = start(t, BINARY, ["serve", "--http", "127.0.0.1:0", "--stun", `${address}:0`, "--log-format", "json", ...words]);
  const [, port] = await server.says(/"page":"http:\/\/localhost:(\d+)/);
  return `http://127.0.0.1:${port}`;
}

/** What the server counts under this name. @param {string} base @param {string} name */
async function counted(base, name) {
  const text = await (await fetch(`${base}/metrics`)).text();
  return Number(text.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
}

for (const [first, second, words, protocol] of [
  ["chromium", "chromium", "udp", "udp"],
  ["chromium", "chromium", "tcp", "tcp"],
  ["chromium", "firefox", "udp", "udp"],
]) {
  test(`${first} and ${second} are in a call through the relay over ${protocol}`, { skip, timeout: 180_000 }, async (t) => {
    const base = await serve(t);
    const room = roomFor("relay");
    const init = PROBE + SMALL + relayOnly(`transport=${words}`);
    const ada = await browsers[first].newPage({ init });
    const grace = await browsers[second].newPage({ init });
    t.after(() => Promise.all([ada.close(), grace.close()]));
    await joinRoom(ada, base, room, "Ada");
    await joinRoom(grace, base, room, "Grace");
    await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(grace, 1)]);
    await Promise.all([hears(ada, 1), hears(grace, 1)]);
    await writeChat(ada, "Hello Grace");
    await readsChat(grace, "Hello Grace");
    for (const page of first === "chromium" && second === "chromium" ? [ada, grace] : [ada]) {
      const pairs = await page.evaluate(() => globalThis.selected());
      assert.ok(pairs.length > 0);
      // Chromium may have nominated more than one on the way.
      for (const pair of pairs) assert.deepEqual(pair, ["relay", protocol, "relay"]);
    }
    const metric = await counted(base, 'twocan_turn_packets_total{to="clients"}');
    assert.ok(metric > 20, `${metric} packets relayed`);
    assertQuiet(ada, grace);
  });
}

for (const words of ["udp", "tcp"]) {
  test(`who reaches nothing but the relay over ${words} is in a call that the same server forwards`, { skip, timeout: 180_000 }, async (t) => {
    const base = await serve(t, "--topology", "sfu");
    const room = roomFor("relay");
    const init = PROBE + SMALL;
    const ada = await browsers.chromium.newPage({ init: init + relayOnly(`transport=${words}`) });
    const grace = await browsers.firefox.newPage({ init });
    t.after(() => Promise.all([ada.close(), grace.close()]));
    await joinRoom(ada, base, room, "Ada");
    await joinRoom(grace, base, room, "Grace");
    await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(grace, 1)]);
    await Promise.all([hears(ada, 1), hears(grace, 1)]);
    for (const [local, protocol] of await ada.evaluate(() => globalThis.selected())) assert.deepEqual([local, protocol], ["relay", words]);
    for (const to of ["media", "clients"]) {
      const metric = await counted(base, `twocan_turn_handed_over_total{to="${to}"}`);
      assert.ok(metric > 20, `${metric} packets handed over to ${to}`);
    }
    assert.equal(await counted(base, "twocan_turn_relay_sockets"), 0);
    assertQuiet(ada, grace);
  });
}
