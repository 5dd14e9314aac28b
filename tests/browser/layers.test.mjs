// Pictures with layers within one stream, and codecs that not all show: pages with the SDK alone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  server?.close();
});

/** Somebody in a room; with a codec, who sends a moving picture of 1024 by 576. */
async function joins(t, browser, room, { videoCodec = null, only = null, url = server.url } = {}) {
  const page = await browser.newPage({ width: 400, height: 300 });
  t.after(() => page.close());
  await page.goto(`${url}/publish/unused`);
  await page.evaluate(async ({ url, videoCodec, only }) => {
    if (only) {
      // A browser that shows nothing else.
      const add = RTCPeerConnection.prototype.addTransceiver;
      RTCPeerConnection.prototype.addTransceiver = function (...given) {
        const transceiver = add.apply(this, given);
        const codecs = RTCRtpReceiver.getCapabilities("video").codecs;
        if (transceiver.receiver.track.kind === "video") transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => [`video/${only}`, "video/rtx"].includes(mimeType.toLowerCase())));
        return transceiver;
      };
    }
    const { Room } = await import("/sdk/index.js");
    const room = (globalThis.room = new Room());
    if (videoCodec) {
      const canvas = Object.assign(document.createElement("canvas"), { width: 1024, height: 576 });
      const context = canvas.getContext("2d");
      let turn = 0;
      setInterval(() => {
        turn += 1;
        for (let at = 0; at < 24; at++) {
          context.fillStyle = `hsl(${(turn * 7 + at * 40) % 360} 80% 50%)`;
          context.fillRect((at * 43 + turn * 5) % 1024, 0, 43, 576);
        }
      }, 66);
      await room.publish("camera", canvas.captureStream(15).getVideoTracks()[0]);
    }
    await room.join(url, { name: "somebody", videoCodec });
    // Somebody has to look, so that pictures are decoded.
    setInterval(() => {
      for (const peer of room.peers.values()) {
        const track = peer.media("camera")?.receiver.track;
        if (!track || globalThis.shown === track) continue;
        globalThis.shown = track;
        document.querySelector("#shown")?.remove();
        const video = Object.assign(document.createElement("video"), { id: "shown", muted: true, srcObject: new MediaStream([track]) });
        document.body.append(video);
        video.play();
      }
    }, 100);
  }, { url: `${url}/${room}`, videoCodec, only });
  return page;
}

const wants = (page, height) =>
  page.evaluate((height) => {
    const { room } = globalThis;
    room.want([...room.peers.values()].map((peer) => ({ peer, source: "camera", height })));
  }, height);

/** What arrives at a page: the codec, the height of the newest picture, and how many were decoded. */
const shows = (page) =>
  page.evaluate(async () => {
    for (const peer of globalThis.room.peers.values()) {
      const all = [...((await peer.media("camera")?.receiver.getStats()) ?? new Map()).values()];
      const inbound = all.find(({ type, framesDecoded }) => type === "inbound-rtp" && framesDecoded > 0);
      if (!inbound) continue;
      const { frameHeight, framesDecoded, nackCount, pliCount, freezeCount } = inbound;
      const { mimeType } = all.find(({ id }) => id === inbound.codecId) ?? {};
      return { codec: mimeType?.toLowerCase(), height: frameHeight, framesDecoded, nackCount, pliCount, freezeCount };
    }
    return null;
  });

const sees = (page, codec, height) =>
  until(
    `${codec} of ${height} lines`,
    async () => {
      const shown = await shows(page);
      return shown?.codec === `video/${codec}` && (!height || shown.height === height) && shown;
    },
    40_000,
  );

/** The streams that a page sends, and the layers of the first. */
const sends = (page) =>
  page.evaluate(async () => {
    const all = [...(await globalThis.room.link.connection.getStats()).values()];
    const sent = all.filter(({ type, kind, framesSent }) => type === "outbound-rtp" && kind === "video" && framesSent > 0);
    return { streams: sent.length, mode: sent[0]?.scalabilityMode };
  });

for (const codec of ["vp9", "av1"]) {
  test(`of layers within one stream of ${codec} each gets what its tile has use for`, { skip, timeout: 240_000 }, async (t) => {
    const room = roomFor(`layers-${codec}`);
    const ada = await joins(t, chromium, room, { videoCodec: codec });
    const grace = await joins(t, chromium, room);
    const eve = await joins(t, firefox, room);
    await sees(grace, codec, 576);
    assert.deepEqual(await sends(ada), { streams: 1, mode: "L3T3_KEY" });
    await wants(grace, 100);
    await sees(grace, codec, 144);
    await sees(eve, codec, 576);
    for (const [height, lines] of [[250, 288], [576, 576], [130, 144], [576, 576]]) {
      await wants(grace, height);
      await sees(grace, codec, lines);
    }
    const [before, besides] = [await shows(grace), await shows(eve)];
    await until("pictures go on", async () => (await shows(grace)).framesDecoded > before.framesDecoded + 20 && (await shows(eve)).framesDecoded > besides.framesDecoded + 20, 20_000);
    const [own, other] = [await shows(grace), await shows(eve)];
    t.diagnostic(`${JSON.stringify(own)} ${JSON.stringify(other)}`);
    assert.equal((await sends(ada)).streams, 1);
  });
}

test("who shows no VP9 is sent what all show, until it is gone", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("fallback");
  await joins(t, chromium, room, { videoCodec: "vp9" });
  const grace = await joins(t, firefox, room);
  await sees(grace, "vp9");
  const old = await joins(t, chromium, room, { only: "vp8" });
  await sees(old, "vp8");
  await sees(grace, "vp8");
  await old.evaluate(() => globalThis.room.leave());
  await sees(grace, "vp9");
});

test("the operator's codec goes before the browser's", { skip, timeout: 120_000 }, async (t) => {
  const own = await startServer("--topology sfu --video-codec vp9,vp8");
  t.after(() => own.close());
  const room = roomFor("order");
  await joins(t, chromium, room, { videoCodec: "vp8", url: own.url });
  const grace = await joins(t, firefox, room, { url: own.url });
  await sees(grace, "vp9");
});

for (const name of ["chromium", "firefox"]) {
  test(`a camera that ${name} opens later, or changes, is sent in the qualities that its size has`, { skip, timeout: 240_000 }, async (t) => {
    const room = roomFor(`later-${name}`);
    const ada = await joins(t, { chromium, firefox }[name], room);
    const grace = await joins(t, chromium, room);
    for (const [width, height] of [[640, 360], [960, 540], [320, 180], [640, 360]]) {
      await ada.evaluate(async ({ width, height }) => {
        clearInterval(globalThis.drawing);
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        const context = canvas.getContext("2d");
        let turn = 0;
        globalThis.drawing = setInterval(() => {
          context.fillStyle = `hsl(${(turn += 7) % 360} 80% 50%)`;
          context.fillRect(turn % width, 0, 40, height);
        }, 66);
        await globalThis.room.publish("camera", canvas.captureStream(15).getVideoTracks()[0]);
      }, { width, height });
      await sees(grace, "vp8", height);
      // No more than the picture has: browsers would leave out the larger of them.
      const active = await ada.evaluate(() => globalThis.room.link.sender("camera").getParameters().encodings.filter((one) => one.active).length);
      assert.equal(active, width < 480 ? 1 : width < 960 ? 2 : 3, `${width} by ${height}`);
    }
  });
}
