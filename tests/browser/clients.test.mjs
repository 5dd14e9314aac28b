// Clients of WHIP and WHEP that others wrote, on a page of another origin: `@eyevinn/whip-web-client` and `whip-whep`
// from npm.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server has neither WHIP nor WHEP";
const PACKAGES = new URL("node_modules/", import.meta.url);
/** What the page may ask for. */
const FILES = ["whip-whep/whip.js", "whip-whep/whep.js", "@eyevinn/whip-web-client/dist/whip-client.modern.js"];
/** Packages of CommonJS that one of them imports, each as a module. */
const MODULES = {
  events: { files: { "events.js": "events/events.js" }, names: ["EventEmitter"] },
  "sdp-transform": { files: Object.fromEntries(["index", "parser", "writer", "grammar"].map((name) => [`./${name}`, `sdp-transform/lib/${name}.js`])), names: ["parse", "write"] },
};
const read = (name) => readFileSync(new URL(name, PACKAGES), "utf8");

/** A module that has what a package exports. */
function wrapped({ files, names }) {
  const sources = Object.entries(files).map(([name, file]) => `${JSON.stringify(name)}: (module, exports, require) => {${read(file)}\n}`);
  return `
    const sources = {${sources.join(",\n")}};
    const made = {};
    const require = (name) => {
      made[name] ??= { exports: {} };
      if (!made[name].made) (made[name].made = true), sources[name](made[name], made[name].exports, require);
      return made[name].exports;
    };
    const all = require(${JSON.stringify(Object.keys(files)[0])});
    export const { ${names.join(", ")} } = all;`;
}

/** Serves the page and what it imports. */
async function serveClients() {
  const imports = Object.fromEntries(Object.keys(MODULES).map((name) => [name, `/module/${name}`]));
  const page = `<!doctype html><title>Clients</title><script type="importmap">${JSON.stringify({ imports })}</script><video autoplay muted playsinline></video>`;
  const site = createServer((request, response) => {
    const path = request.url.slice(1);
    const module = MODULES[path.replace("module/", "")];
    const text = module ? wrapped(module) : FILES.includes(path) ? read(path) : path === "" ? page : null;
    const type = path === "" ? "text/html" : "text/javascript";
    response.writeHead(text === null ? 404 : 200, { "Content-Type": type }).end(text ?? "");
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${site.address().port}/`, close: () => site.close() };
}

let server;
let site;
const browsers = {};
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu --allowed-origin '*'");
  site = await serveClients();
  browsers.chromium = await launch("chromium");
  browsers.firefox = await launch("firefox");
});
after(async () => {
  await browsers.chromium?.close();
  await browsers.firefox?.close();
  site?.close();
  server?.close();
});

async function open(t, browser) {
  const page = await browsers[browser].newPage();
  t.after(() => page.close());
  await page.goto(site.url);
  return page;
}

/** Plays with `whip-whep` as its README has it: the lines could send as well. */
const views = (page, url) =>
  page.evaluate(async (url) => {
    const { WHEPClient } = await import("/whip-whep/whep.js");
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    connection.addTransceiver("audio");
    connection.addTransceiver("video");
    connection.ontrack = ({ track, streams }) => {
      if (track.kind === "video") document.querySelector("video").srcObject = streams[0] ?? new MediaStream([track]);
    };
    const whep = new WHEPClient();
    await whep.view(connection, url);
    Object.assign(globalThis, { connection, whep });
  }, url);

/** Waits for so many pictures more. */
async function plays(page, more = 10) {
  await page.evaluate(() => {
    globalThis.shown = 0;
    const next = () => {
      globalThis.shown += 1;
      document.querySelector("video").requestVideoFrameCallback(next);
    };
    document.querySelector("video").requestVideoFrameCallback(next);
  });
  await page.until(`${more} pictures more`, (least) => globalThis.shown > least, more, 60_000);
}

const sends = {
  "@eyevinn/whip-web-client": (page, url) =>
    page.evaluate(async (endpoint) => {
      const { WHIPClient } = await import("/@eyevinn/whip-web-client/dist/whip-client.modern.js");
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
      const client = new WHIPClient({ endpoint, opts: {} });
      await client.setIceServersFromEndpoint();
      await client.ingest(stream);
      globalThis.resource = await client.getResourceUrl();
      globalThis.stop = () => client.destroy();
    }, url),
  "whip-whep": (page, url) =>
    page.evaluate(async (url) => {
      const { WHIPClient } = await import("/whip-whep/whip.js");
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
      const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
      for (const track of stream.getTracks()) {
        const sendEncodings = track.kind === "video" ? [{ rid: "low", scaleResolutionDownBy: 2 }, { rid: "high" }] : undefined;
        connection.addTransceiver(track, { direction: "sendonly", streams: [stream], ...(sendEncodings ? { sendEncodings } : {}) });
      }
      const whip = new WHIPClient();
      await whip.publish(connection, url);
      globalThis.resource = String(whip.resourceURL);
      globalThis.stop = () => whip.stop();
    }, url),
};

for (const [client, from, to] of [["@eyevinn/whip-web-client", "chromium", "firefox"], ["@eyevinn/whip-web-client", "firefox", "chromium"], ["whip-whep", "chromium", "chromium"]]) {
  test(`${client} publishes from ${from}, and whip-whep plays in ${to}`, { skip, timeout: 180_000 }, async (t) => {
    const room = roomFor("clients");
    const camera = await open(t, from);
    await sends[client](camera, `${server.url}/whip/${room}`);
    const viewer = await open(t, to);
    await views(viewer, `${server.url}/whep/${room}`);
    await plays(viewer);
    if (client === "whip-whep") {
      const height = (wanted) => viewer.until(`${wanted} lines`, (wanted) => document.querySelector("video").videoHeight === wanted, wanted, 60_000);
      await viewer.evaluate(() => whep.selectLayer({ encodingId: "low" }));
      await height(180);
      await viewer.evaluate(() => whep.selectLayer({ encodingId: "high" }));
      await height(360);
      await viewer.evaluate(() => whep.selectLayer({ encodingId: "low" }));
      await height(180);
      await viewer.evaluate(() => whep.unselectLayer());
      await height(360);
    }
    const resources = [await camera.evaluate(() => globalThis.resource), await viewer.evaluate(() => String(whep.resourceURL))];
    await viewer.evaluate(() => whep.stop());
    await camera.evaluate(() => globalThis.stop());
    for (const resource of resources) assert.equal((await fetch(resource, { method: "DELETE" })).status, 404, "ended by its client");
  });
}
