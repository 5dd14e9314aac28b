// What needs no browser.
import assert from "node:assert/strict";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { arrange } from "../../web/app/arrange.js";
import { readByLabel, readMetrics, Rates } from "../../web/app/admin-api.js";
import { broadcastQualities } from "../../web/app/broadcast-source.js";
import { canBlur, notAsWanted, soundConstraints } from "../../web/app/capture-options.js";
import { foreignEncoders } from "../../web/app/foreign-encoders.js";
import { formatTime, initials } from "../../web/app/format.js";
import { joinToken, readKey, roomLink } from "../../web/app/join-token.js";
import { roomAndToken } from "../../web/app/rooms-in-paths.js";
import { SpeechHeard } from "../../web/app/muted-hint.js";
import { deviceProblem } from "../../web/app/problems.js";
import { randomRoomName, roomNameIn, roomNameOf } from "../../web/app/room-names.js";
import { backoff } from "../../web/sdk/backoff.js";
import { readChat } from "../../web/sdk/chat-messages.js";
import { withRoleKept } from "../../web/sdk/dtls-role.js";
import { readFileMessage, safeName } from "../../web/sdk/file-messages.js";
import { meshBudget } from "../../web/sdk/mesh-budget.js";
import { fragmentOf, linkedServers, restarted, usernameFragment } from "../../web/sdk/sdp-fragment.js";
import { isOtherConnection, fingerprints, withListedFormats } from "../../web/sdk/sdp-session.js";
import { sessionUrl } from "../../web/sdk/session-url.js";
import { openAv1Envelope, readObus } from "../../web/sdk/av1-envelope.js";
import { FrameDecrypter, FrameEncrypter, codecOfKeyFrame, deriveKey, readHeader, writeHeader } from "../../web/sdk/sframe.js";
import { Sha256 } from "../../web/sdk/sha256.js";
import { StatsReader } from "../../web/sdk/stats.js";

test("SHA-256 of what comes in pieces is that of the whole", () => {
  const digest = (bytes, piece) => {
    const hash = new Sha256();
    for (let at = 0; at < bytes.length; at += piece) hash.update(bytes.subarray(at, at + piece));
    return hash.hex();
  };
  // FIPS 180-4 examples.
  assert.equal(digest(Buffer.from("abc"), 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.equal(digest(Buffer.alloc(0), 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (const size of [1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 100_003]) {
    const bytes = randomBytes(size);
    const expected = createHash("sha256").update(bytes).digest("hex");
    for (const piece of [1, 7, 64, 65, 4096]) assert.equal(digest(bytes, piece), expected, `${bytes.toString("hex").slice(0, 80)} in ${piece}`);
  }
});

test("tiles stay on the stage, do not overlap and are of a kind", () => {
  for (const [width, height] of [[1248, 668], [348, 560], [640, 300], [1900, 1000]]) {
    for (let count = 1; count <= 16; count += 1) {
      const seats = Array.from({ length: count }, (_, index) => ({ id: String(index), role: index === count - 1 ? "self" : "person" }));
      const places = [...arrange(seats, { width, height }).values()];
      assert.equal(places.length, count);
      for (const { x, y, width: w, height: h } of places) {
        assert.ok(x >= -0.5 && y >= -0.5 && x + w <= width + 0.5 && y + h <= height + 0.5, `${count} on ${width}×${height}`);
        assert.ok(w > 20 && h > 20);
      }
      const fixed = places.filter(({ floating }) => !floating);
      for (const a of fixed) {
        for (const b of fixed) {
          const apart = a === b || a.x + a.width <= b.x + 0.5 || b.x + b.width <= a.x + 0.5 || a.y + a.height <= b.y + 0.5 || b.y + b.height <= a.y + 0.5;
          assert.ok(apart, `${count} on ${width}×${height}`);
        }
      }
    }
  }
});

test("a shared screen gets most of the stage, upright and lying", () => {
  for (const [width, height] of [[1248, 668], [348, 560]]) {
    const places = arrange([{ id: "screen", role: "screen" }, { id: "a", role: "person" }, { id: "me", role: "self" }], { width, height });
    const area = (id) => places.get(id).width * places.get(id).height;
    assert.ok(area("screen") > 3 * area("a"), `${width}×${height}`);
  }
});

test("layouts show one large, all alike, or whoever is pinned", () => {
  const seats = [...["a", "b", "c"].map((id) => ({ id, role: "person" })), { id: "me", role: "self" }];
  const screen = { id: "screen", role: "screen" };
  for (const [width, height] of [[1248, 668], [348, 560]]) {
    const large = (all, wishes) => {
      const places = arrange(all, { width, height, ...wishes });
      assert.equal(places.size, all.length);
      for (const { x, y, width: w, height: h } of places.values()) assert.ok(w > 20 && h > 20 && x >= -0.5 && y >= -0.5 && x + w <= width + 0.5 && y + h <= height + 0.5);
      const sizes = [...places].map(([id, { width: w, height: h }]) => [id, w * h]).sort((a, b) => b[1] - a[1]);
      return sizes[0][1] > 2 * sizes[1][1] ? sizes[0][0] : null;
    };
    assert.equal(large(seats, { layout: "auto" }), null);
    assert.equal(large(seats, { layout: "grid", speaker: "b" }), null);
    for (const layout of ["speaker", "sidebar"]) {
      assert.equal(large(seats, { layout }), "a", "before anybody has spoken");
      assert.equal(large(seats, { layout, speaker: "b" }), "b");
      assert.equal(large(seats, { layout, speaker: "gone" }), "a");
      assert.equal(large([screen, ...seats], { layout, speaker: "b" }), "screen");
    }
    for (const layout of ["auto", "grid", "speaker", "sidebar"]) {
      assert.equal(large([screen, ...seats], { layout, speaker: "b", pinned: "c" }), "c");
      assert.equal(large(seats, { layout, pinned: "gone" }), layout === "auto" || layout === "grid" ? null : "a");
      assert.ok(large([seats[0], seats[3]], { layout }) === (layout === "grid" ? null : "a"));
      assert.equal(arrange([seats[3]], { width, height, layout }).size, 1);
    }
    assert.equal(large([screen, ...seats], { layout: "grid" }), null);
  }
});

test("a file name from someone else is only a name", () => {
  assert.equal(safeName("../../etc/passwd"), "passwd");
  assert.equal(safeName("C:\\Windows\\system.ini"), "system.ini");
  assert.equal(safeName("photo\u202egpj.exe"), "photogpj.exe");
  assert.equal(safeName(".bashrc"), "bashrc");
  assert.equal(safeName("a\u0000b\n.txt"), "ab.txt");
  assert.equal(safeName("///"), "file");
  assert.equal(safeName(`${"x".repeat(500)}.tar.gz`).length, 200);
  assert.ok(safeName(`${"x".repeat(500)}.pdf`).endsWith(".pdf"));
});

test("what is no message of the file protocol is none", () => {
  for (const text of ["", "{", "null", "7", "[]", '{"type":"offer"}', '{"type":"offer","id":"a","name":"b","size":-1}', '{"type":"offer","id":"a","name":"b","size":1e300}', '{"type":"end","sha256":"zz"}', '{"type":"progress","received":0.5}', '{"type":"unheard"}']) {
    assert.equal(readFileMessage(text), null, text);
  }
});

test("chat takes JSON and plain text, and nothing that is too long or of another type", () => {
  assert.equal(readChat('{"type":"chat","id":"1","text":"hi","at":5}').at, 5);
  assert.equal(readChat("hello from a terminal").text, "hello from a terminal");
  assert.equal(readChat("42").text, "42");
  assert.equal(readChat('{"type":"typing"}'), null);
  assert.equal(readChat('{"type":"chat","text":7}'), null);
  assert.equal(readChat(JSON.stringify({ type: "chat", text: "x".repeat(8001) })), null);
  assert.equal(readChat("  "), null);
});

test("the room is found in the address", () => {
  assert.equal(roomNameIn({ pathname: "/blue-otter", search: "" }), "blue-otter");
  assert.equal(roomNameIn({ pathname: "/", search: "?room=Blue%20Otter" }), "blue-otter");
  assert.equal(roomNameIn({ pathname: "/index.html", search: "" }), "");
  assert.equal(roomNameIn({ pathname: "/%E0%A4%A", search: "" }), "");
  assert.equal(roomNameOf("Ärzte & Söhne!"), "ärzte-söhne");
  for (let i = 0; i < 50; i += 1) {
    const name = randomRoomName();
    assert.equal(roomNameOf(name), name);
  }
});

test("the session's address follows from what a person opens", () => {
  const base = "https://example.org/lobby";
  assert.equal(sessionUrl("/blue-otter", { base }).href, "wss://example.org/webrtc/blue-otter");
  assert.equal(sessionUrl("http://localhost:8080/blue-otter/").href, "ws://localhost:8080/webrtc/blue-otter");
  assert.equal(sessionUrl("wss://example.org/socket/blue-otter").href, "wss://example.org/socket/blue-otter");
  assert.equal(sessionUrl("https://example.org/x#y", { token: "a b" }).href, "wss://example.org/webrtc/x?access_token=a+b");
});

test("pauses between attempts grow, end at eight seconds and are spread", () => {
  assert.equal(backoff(0), 0);
  assert.deepEqual([1, 2, 3, 6, 20].map((attempt) => backoff(attempt, () => 1)), [250, 500, 1000, 8000, 8000]);
  assert.equal(backoff(20, () => 0), 4000);
});

test("the picture gets smaller with everyone who joins", () => {
  const sums = [1, 2, 3, 4, 5, 8, 9, 16].map((others) => meshBudget(others).maxBitrate * others);
  assert.ok(sums.every((sum) => sum <= 2_500_000), String(sums));
  assert.equal(meshBudget(1).maxHeight, 720);
});

test("problems with devices are told apart", () => {
  const title = (name, message = "") => deviceProblem(new DOMException(message, name), "camera").title;
  const titles = ["NotAllowedError", "NotFoundError", "NotReadableError", "InsecureContext", "OverconstrainedError"].map((name) => title(name));
  assert.equal(new Set(titles).size, titles.length);
  assert.match(title("NotAllowedError", "Permission denied by system"), /by the system/);
});

test("initials fit any name", () => {
  assert.equal(initials("Ada Lovelace"), "AL");
  assert.equal(initials("  grace  "), "G");
  assert.equal(initials("李 小龙"), "李小");
  assert.equal(initials(""), "?");
  assert.equal(initials("🦦 otter"), "🦦O");
});

test("statistics take rates from two readings", () => {
  const report = (at, bytes, packets, lost) => [
    ["I", { id: "I", type: "inbound-rtp", kind: "video", mid: "1", timestamp: at, bytesReceived: bytes, packetsReceived: packets, packetsLost: lost, framesDecoded: 60, framesPerSecond: 30, frameWidth: 640, frameHeight: 360, codecId: "C", jitter: 0.004 }],
    ["C", { id: "C", type: "codec", mimeType: "video/VP8" }],
    ["T", { id: "T", type: "transport", selectedCandidatePairId: "P", tlsVersion: "FEFC", srtpCipher: "AEAD_AES_128_GCM" }],
    ["P", { id: "P", type: "candidate-pair", localCandidateId: "L", remoteCandidateId: "R", currentRoundTripTime: 0.025 }],
    ["L", { id: "L", type: "local-candidate", candidateType: "host", protocol: "udp" }],
    ["R", { id: "R", type: "remote-candidate", candidateType: "srflx" }],
  ];
  const reader = new StatsReader();
  reader.summarise(report(1000, 0, 0, 0));
  const { tracks, transport } = reader.summarise(report(2000, 125_000, 90, 10));
  assert.equal(tracks[0].bitrate, 1_000_000);
  assert.equal(tracks[0].loss, 0.1);
  assert.equal(tracks[0].codec, "VP8");
  assert.equal(tracks[0].jitterMs, 4);
  assert.deepEqual({ ...transport, availableOutgoing: null }, { rttMs: 25, availableOutgoing: null, local: "host", remote: "srflx", protocol: "udp", dtls: "DTLS 1.3", srtp: "AEAD_AES_128_GCM" });
});

test("an offer in the middle of a connection says the role that its sender has", () => {
  const description = (type, ...roles) => ({ type, sdp: `v=0\r\n${roles.map((role) => `m=audio 9 x 0\r\na=setup:${role}\r\n`).join("")}` });
  const offer = description("offer", "actpass", "actpass");
  assert.equal(withRoleKept(offer, null, null), offer, "the first one");
  for (const [theirs, ours] of [["active", "passive"], ["passive", "active"]]) {
    const expected = description("offer", theirs, theirs);
    assert.deepEqual(withRoleKept(offer, description("offer", "actpass"), description("answer", theirs)), expected);
    assert.deepEqual(withRoleKept(offer, description("answer", ours), description("offer", "actpass")), expected);
    const again = withRoleKept(offer, description("answer", ours), description("offer", theirs));
    assert.deepEqual(again, expected, "after one that was written so");
    assert.deepEqual(withRoleKept(expected, description("answer", ours), description("offer", "actpass")), expected);
  }
});

/** @param {string} text */
const hex = (text) => new Uint8Array(Buffer.from(text, "hex"));

test("headers of encrypted frames are those of RFC 9605", () => {
  const vectors = [
    [0n, 0n, "00"],
    [0n, 0xffn, "08ff"],
    [1n, 0x100_0000n, "1b01000000"],
    [0xffn, 1n, "81ff"],
    [0x123n, 0x4567n, "9901234567"],
    [0x1_0000_0000n, 0n, "c00100000000"],
    [2n ** 64n - 1n, 2n ** 64n - 1n, "ffffffffffffffffffffffffffffffffff"],
  ];
  for (const [keyId, counter, text] of vectors) {
    assert.equal(Buffer.from(writeHeader(keyId, counter)).toString("hex"), text);
    assert.deepEqual(readHeader(hex(text + "00")), { keyId, counter, length: text.length / 2 });
    for (let length = 0; length < text.length / 2; length += 1) assert.equal(readHeader(hex(text).subarray(0, length)), null);
  }
  for (const text of ["0807", "0900ff", "8007"]) assert.equal(readHeader(hex(text)), null, "not the shortest form");
});

test("keys of encrypted frames are those of RFC 9605", async () => {
  const { key, salt } = await deriveKey(hex("000102030405060708090a0b0c0d0e0f"), 0x123n);
  assert.equal(Buffer.from(salt).toString("hex"), "84991c167b8cd23c93708ec7");
  const iv = hex("84991c167b8cd23c9370cba0");
  const additionalData = hex("99012345674945544620534672616d65205747");
  const encrypted = hex("94f509d36e9beacb0e261d99c7d1e972f1fed787d4049f17ca21353c1cc24d56ceabced279");
  const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, encrypted);
  assert.equal(Buffer.from(plain).toString(), "draft-ietf-sframe-enc");
});

test("frames are decrypted once, by who has the secret, and only whole", async () => {
  const secret = new Uint8Array(randomBytes(32));
  for (const [kind, frame] of [
    ["audio", hex("f8fffe")],
    ["audio", hex("")],
    ["VP8", hex("1002009d012a4001f000aabbcc")], // a key frame
    ["VP8", hex("110200aabbcc")],
    ["VP9", hex("82aabbcc")],
    ["AV1", hex("12000a030102033203100809")], // a key frame with delimiter and sequence header
    ["AV1", hex("3030070707")],
  ]) {
    const encrypter = new FrameEncrypter(secret);
    const decrypter = new FrameDecrypter(secret);
    const clear = kind === "VP8" ? (frame[0] & 1 ? 3 : 10) : kind === "VP9" ? 1 : 0;
    for (let count = 0; count < 10; count += 1) {
      const encrypted = await encrypter.encrypt(kind, frame);
      assert.deepEqual(encrypted.subarray(0, clear), frame.subarray(0, clear));
      assert.equal(await new FrameDecrypter(new Uint8Array(32)).decrypt(kind, encrypted), null);
      for (let at = 0; at < encrypted.length; at += 1) {
        const changed = encrypted.slice();
        changed[at] ^= 0x10;
        // Of AV1, the copy of the sequence header in front says nothing that counts.
        if (kind === "AV1" && at < encrypted.length - openAv1Envelope(encrypted).hidden.length - 1) continue;
        assert.equal(await decrypter.decrypt(kind, changed), null, `byte ${at}`);
      }
      assert.deepEqual(await decrypter.decrypt(kind, encrypted), frame);
      const isKey = ["1002009d", "82aabbcc", "12000a03"].includes(Buffer.from(frame.subarray(0, 4)).toString("hex"));
      if (isKey) assert.deepEqual([codecOfKeyFrame(frame), codecOfKeyFrame(encrypted)], [kind, kind]);
      assert.equal(await decrypter.decrypt(kind, encrypted), null, "again");
    }
  }
  await assert.rejects(new FrameEncrypter(secret).encrypt("VP8", hex("10")), RangeError);
  for (const nonsense of ["", "80", "3205"]) await assert.rejects(new FrameEncrypter(secret).encrypt("AV1", hex(nonsense)), RangeError);
  for (const nonsense of ["", "00", "10", "9901", "ff"]) for (const codec of ["VP8", "VP9", "AV1"]) assert.equal(await new FrameDecrypter(secret).decrypt(codec, hex(nonsense)), null);
});

test("frames of AV1 stay such as packetisers take apart, and say that they are key frames", async () => {
  const encrypted = await new FrameEncrypter(new Uint8Array(32)).encrypt("AV1", hex("12000a0301020336280310080900"));
  assert.deepEqual(readObus(encrypted).map(({ type, extension }) => [type, extension]), [[1, null], [6, 0x28]]);
  assert.deepEqual(encrypted.subarray(0, 7), hex("0a030102033628"));
  assert.equal(openAv1Envelope(encrypted).clear[0], 0x10, "a key frame that is shown");
  const long = await new FrameEncrypter(new Uint8Array(32)).encrypt("AV1", new Uint8Array([0x30, 0x30, ...new Uint8Array(70_000)]));
  assert.equal(openAv1Envelope(long).hidden.length, long.length - 5, "a size in three bytes");
});

test("a description says nothing of payload types that it does not list", () => {
  const lines = ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=rtpmap:111 opus/48000/2", "m=video 9 UDP/TLS/RTP/SAVPF 120 124",
    "a=rtpmap:120 VP8/90000", "a=fmtp:124 apt=120", "a=rtcp-fb:* nack", "a=rtcp-fb:120 nack", "a=mid:1", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000"];
  const sound = lines.map((line) => `${line}\r\n`).join("");
  const left = sound.replace("a=mid:1", "a=rtcp-fb:99 nack pli\r\na=fmtp:121 apt=99\r\na=mid:1");
  assert.deepEqual(withListedFormats({ type: "offer", sdp: left }), { type: "offer", sdp: sound });
  assert.deepEqual(withListedFormats({ type: "answer", sdp: sound }), { type: "answer", sdp: sound });
});

test("an offer with another certificate begins a new connection", () => {
  const before = fingerprints("v=0\r\na=fingerprint:sha-256 AA:BB\r\nm=audio\r\na=fingerprint:sha-256 CC:DD\r\n");
  assert.deepEqual([...before], ["SHA-256 AA:BB", "SHA-256 CC:DD"]);
  assert.equal(isOtherConnection(before, "a=fingerprint:sha-256 cc:dd\r\n"), false);
  assert.equal(isOtherConnection(before, "a=fingerprint:sha-256 AA:CC\r\n"), true);
  assert.equal(isOtherConnection(before, "v=0\r\n"), false, "it says nothing of certificates");
  assert.equal(isOtherConnection(fingerprints(undefined), "a=fingerprint:sha-256 AA:CC\r\n"), false, "the first");
});

test("a restart replaces what was said of ICE, and nothing else", () => {
  const answer = readFileSync(new URL("../vectors/sdp/chromium.answer.media.sdp", import.meta.url), "utf8");
  const fragment = "a=ice-lite\r\na=ice-ufrag:new1\r\na=ice-pwd:0123456789abcdef01234567\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:9 1 udp 2130706431 192.0.2.9 4000 typ host\r\na=end-of-candidates\r\n";
  const after = restarted(answer, fragment);
  assert.equal(usernameFragment(after), "new1");
  const lines = (sdp) => sdp.split("\r\n").filter((line) => line && !/^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
  assert.deepEqual(lines(after), lines(answer.replaceAll(/\r?\n/g, "\r\n")));
  const sections = after.split(/(?=^m=)/m);
  assert.ok(sections.slice(1).every((section) => !section.includes("a=ice-ufrag:") || section.includes("a=ice-ufrag:new1")));
  assert.deepEqual(sections.map((section) => section.match(/^a=candidate:/gm)?.length ?? 0), sections.map((_, index) => (index === 1 ? 1 : 0)));
  assert.ok(after.endsWith("\r\n") && !after.includes("\r\n\r\n"));
});

test("candidates go out as a fragment of their section", () => {
  const offer = readFileSync(new URL("../vectors/sdp/firefox.offer.media.sdp", import.meta.url), "utf8");
  const [ufrag, mid] = [/^a=ice-ufrag:(\S+)/m.exec(offer)[1], /^a=mid:(\S+)/m.exec(offer)[1]];
  const candidate = "candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host";
  const lines = fragmentOf(offer, [{ candidate, sdpMid: mid }], true).split("\r\n");
  assert.equal(lines[0], `a=ice-ufrag:${ufrag}`);
  assert.match(lines[1], /^a=ice-pwd:\S{22,}$/);
  assert.match(lines[2], /^m=\w+ 9 UDP\/TLS\/RTP\/SAVPF \d+$/);
  assert.deepEqual(lines.slice(3), [`a=mid:${mid}`, `a=${candidate}`, "a=end-of-candidates", ""]);
});

test("servers for ICE are read from links, and other links are not", () => {
  const link = `<https://example.org/>; rel="help", <stun:stun.example.org>; rel="ice-server", <turn:turn.example.org?transport=udp>; rel="ice-server"; username="a, \\"b\\""; credential="x=/+"; credential-type="password"`;
  assert.deepEqual(linkedServers(link), [{ urls: ["stun:stun.example.org"] }, { urls: ["turn:turn.example.org?transport=udp"], username: 'a, "b"', credential: "x=/+" }]);
  for (const none of [null, "", "<", "<javascript:alert(1)>; rel=\"ice-server\"", "<stun:a>; rel=stylesheet"]) assert.deepEqual(linkedServers(none), [], String(none));
});

test("metrics are read, and summed over labels", () => {
  const text = '# TYPE a counter\na{shard="0"} 1\na{shard="1",b="} 7"} 2.5\n\nb 3e2\nc NaN\nd +Inf\nnonsense\n';
  assert.deepEqual([...readMetrics(text)], [["a", 3.5], ["b", 300]]);
  const threads = '# TYPE cpu counter\ncpu{shard="0"} 5\ncpu{of="x",shard="1",more="y"} 7\ncpu 9\ncpus{shard="2"} 1\ncpu{shard="3"} NaN\n';
  assert.deepEqual([...readByLabel(threads, "cpu", "shard")], [["0", 5], ["1", 7]]);
  const rates = new Rates();
  assert.equal(rates.of("a", 10, 1_000), null);
  assert.equal(rates.of("a", 40, 3_000), 15);
  assert.equal(rates.of("a", 5, 4_000), null, "the server began anew");
  assert.equal(rates.of("a", undefined, 5_000), null);
});

test("join tokens are JSON Web Tokens of HS256", async () => {
  const secret = "0123456789abcdef:123456789abcdef";
  const token = await joinToken({ room: "den", purpose: "watch", name: "Zoë", seconds: 60, key: `main:HS256:${secret}`, now: 1_000 });
  const [header, claims, signature] = token.split(".");
  const read = (part) => JSON.parse(Buffer.from(part, "base64url").toString());
  assert.deepEqual(read(header), { alg: "HS256", typ: "JWT", kid: "main" });
  const { jti, ...rest } = read(claims);
  assert.match(jti, /^[\w-]{16}$/);
  assert.deepEqual(rest, { iat: 1_000, exp: 1_060, name: "Zoë", video: { room: "den", roomJoin: true, canPublish: false, canPublishData: false } });
  assert.equal(signature, createHmac("sha256", secret).update(`${header}.${claims}`).digest("base64url"));
  for (const key of ["", "main", "main:HS256:", "main:ES256:/key.pem", "main:HS256:short", ":HS256:0123456789abcdef0123456789abcdef"]) assert.throws(() => readKey(key), RangeError, key);
  assert.equal(roomLink("a b", "watch", "t", "https://h/admin"), "https://h/watch/a%20b#token=t");
  assert.equal(roomLink("a b", "join", "t", "https://h/admin"), "https://h/a%20b?access_token=t");
  assert.equal(roomLink("a b", "publish", "", "https://h/admin"), "https://h/publish/a%20b");
});

test("other programs are told words that a shell takes as they are meant", () => {
  const [obs, ffmpeg, gstreamer] = foreignEncoders("https://h/whip/it's", "a b");
  assert.deepEqual(obs.lines.map(({ text }) => text), ["https://h/whip/it's", "a b"]);
  assert.ok(ffmpeg.lines[0].text.endsWith(`-f whip -authorization 'a b' 'https://h/whip/it'\\''s'`), ffmpeg.lines[0].text);
  assert.ok(gstreamer.lines[0].text.endsWith("auth-token='a b'"));
  assert.ok(foreignEncoders("http://localhost:8080/whip/den", "")[1].lines[0].text.endsWith("-f whip http://localhost:8080/whip/den"));
});

test("the room and the token of a page are in its address", () => {
  assert.deepEqual(roomAndToken({ pathname: "/watch/a%20b/", hash: "#token=x.y-z" }), { room: "a b", token: "x.y-z" });
  assert.deepEqual(roomAndToken({ pathname: "/publish/den", hash: "" }), { room: "den", token: "" });
  assert.deepEqual(roomAndToken({ pathname: "/watch/%E0%A4%A", hash: "#" }), { room: "e0-a4-a", token: "" });
});

test("the qualities of a broadcast rise, and the largest is the picture itself", () => {
  for (const height of [360, 720, 1080, 5]) {
    const all = broadcastQualities(height);
    assert.equal(all.at(-1).scaleResolutionDownBy, 1);
    for (const [low, high] of all.slice(1).map((one, index) => [all[index], one])) assert.ok(low.maxBitrate < high.maxBitrate && low.scaleResolutionDownBy > high.scaleResolutionDownBy);
  }
});

test("who speaks while muted is told once, and a cough is no speech", () => {
  const speech = new SpeechHeard();
  let now = 0;
  const looks = (count, level) => Array.from({ length: count }, () => speech.hears(level, (now += 100))).filter(Boolean).length;
  assert.equal(looks(50, 0.01), 0, "a quiet room");
  assert.equal(looks(4, 0.5), 0, "a cough");
  assert.equal(looks(20, 0), 0);
  assert.equal(looks(10, 0.1), 1, "speech");
  assert.equal(looks(150, 0.1), 0, "and no second word of it");
  assert.equal(looks(60, 0.1), 1, "until it may have been forgotten");
  speech.forget();
  assert.equal(looks(150, 0), 0);
  assert.equal(looks(60, 0.1) , 1);
});

test("sound is asked for as it was chosen, and what a browser does not tell counts as done", () => {
  const wishes = { noiseSuppression: false, echoCancellation: true, autoGainControl: true, blur: true };
  assert.deepEqual(soundConstraints(wishes), { noiseSuppression: false, echoCancellation: true, autoGainControl: true });
  assert.deepEqual(notAsWanted({ noiseSuppression: true, echoCancellation: true }, wishes), ["noiseSuppression"]);
  assert.deepEqual(notAsWanted({}, wishes), []);
  assert.deepEqual(notAsWanted({ echoCancellation: "all" }, wishes), []);
});

test("a background is blurred only where the system can do both", () => {
  const track = (capabilities) => ({ getCapabilities: () => capabilities });
  assert.equal(canBlur(track({ backgroundBlur: [false, true] })), true);
  for (const own of [{}, { backgroundBlur: [true] }, { backgroundBlur: [false] }, { backgroundBlur: true }]) assert.equal(canBlur(track(own)), false);
  assert.equal(canBlur({}), false);
  assert.equal(canBlur(null), false);
});

test("a time has a date where it is not of today", () => {
  const now = new Date(2026, 4, 17, 12, 0).getTime();
  const texts = [[2026, 4, 17, 0, 5], [2026, 4, 16, 12, 0], [2025, 4, 17, 12, 0], [2026, 4, 18, 0, 5]].map(([year, month, day, hour, minute]) => formatTime(new Date(year, month, day, hour, minute).getTime(), now));
  assert.doesNotMatch(texts[0], /26|17/);
  assert.match(texts[1], /16.*2026|2026.*16/);
  assert.match(texts[2], /17.*2025|2025.*17/);
  assert.match(texts[3], /18.*2026|2026.*18/);
});
