// Addresses that are not told: names that multicast DNS resolves in the network of both.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { BINARY, start, withoutBinary } from "./native.mjs";

const skip = withoutBinary;
const browsers = {};
before(async () => {
  if (skip) return;
  browsers.chromium = await launch("chromium", { stock: true });
  browsers.firefox = await launch("firefox", { stock: true });
});
after(() => Promise.all(Object.values(browsers).map((browser) => browser.close())));

/** The page's description with all candidates. */
async function offer() {
  const peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("echo");
  Object.assign(globalThis, { peer, channel });
  await peer.setLocalDescription();
  while (peer.iceGatheringState !== "complete") await new Promise((done) => peer.addEventListener("icegatheringstatechange", done, { once: true }));
  return peer.localDescription.toJSON();
}

// A lite agent sends no checks: nothing but its name leads to it.
for (const name of ["chromium", "firefox"]) test(`${name} finds us by a name`, { skip }, async (t) => {
  const page = await browsers[name].newPage();
  t.after(() => page.close());
  const native = start(t, BINARY, ["peer", "answer", "--ice-lite", "--hide-addresses", "--no-tcp"]);
  native.write(JSON.stringify(await page.evaluate(offer)));
  const [, answer] = await native.says(/^(\{.*\})$/);
  const { type, sdp } = JSON.parse(answer);
  const candidates = sdp.match(/^a=candidate:.*$/gm);
  assert.ok(candidates.length > 0, sdp);
  for (const candidate of candidates) assert.match(candidate, / [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local \d+ typ host$/);
  await page.evaluate((remote) => peer.setRemoteDescription(remote), { type, sdp });
  await page.until("an open channel", () => channel.readyState === "open");
});
