"""aiortc: WebRTC in Python, with OpenSSL's DTLS, its own SCTP, FFmpeg's codecs."""

import asyncio
import json
import os
import re
import signal
import sys
import time

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import VideoFrame

from echo import (
    AUDIO_PACKETS_MIN,
    HOLD_S,
    VIDEO_FRAMES_MIN,
    describe,
    median_ms,
    message,
    parse_options,
    print_line,
    print_result,
)


class MovingStripes(VideoStreamTrack):
    """320x180 grey pictures that all differ."""

    WIDTH, HEIGHT = 320, 180
    SHADES = bytes(range(256)) * 4
    number = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        self.number += 1
        frame = VideoFrame(self.WIDTH, self.HEIGHT, "yuv420p")
        luma, *chroma = frame.planes
        rows = ((row + self.number * 4) % 256 for row in range(self.HEIGHT))
        luma.update(b"".join(self.SHADES[row : row + luma.line_size] for row in rows))
        for plane in chroma:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


def ice_server(text):
    """The form that ours has, turn:USER:PASSWORD@HOST, in the W3C's."""
    scheme, user, password, host = re.fullmatch(r"(\w+):(?:([^:@]*):([^@]*)@)?(.*)", text).groups()
    return RTCIceServer(urls=f"{scheme}:{host}", username=user, credential=password)


class Peer:
    def __init__(self, options):
        self.options = options
        # Without a configuration aiortc asks a public STUN server.
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[ice_server(text) for text in options.ice_server]))
        self.frames = {"audio": 0, "video": 0}
        self.size = None
        self.echoed = 0
        self.open_ms = None
        self.round_trips = []
        self.finished = asyncio.get_running_loop().create_future()
        self.tasks = []
        self.pc.on("connectionstatechange", self.on_state)
        self.pc.on("datachannel", self.on_channel)
        self.pc.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self.count(track))))

    def on_state(self):
        if self.pc.connectionState == "failed":
            self.fail(f"connection failed ({self.states()})")

    def fail(self, why):
        if not self.finished.done():
            self.finished.set_exception(RuntimeError(why))

    def finish(self):
        if not self.finished.done():
            self.finished.set_result(None)

    async def count(self, track):
        while True:
            try:
                frame = await track.recv()
            except Exception:  # The track has ended.
                return
            self.frames[track.kind] += 1
            if track.kind == "video":
                self.size = f"{frame.width}x{frame.height}"

    def add_media(self):
        self.pc.addTrack(AudioStreamTrack())
        self.pc.addTrack(MovingStripes())
        if self.options.video != "h264":
            return
        for transceiver in self.pc.getTransceivers():
            if transceiver.kind == "video":
                codecs = RTCRtpSender.getCapabilities("video").codecs
                transceiver.setCodecPreferences([c for c in codecs if c.mimeType.lower() in ("video/h264", "video/rtx")])

    def on_channel(self, channel):
        self.channel = channel
        self.opened()
        channel.on("message", self.on_message)
        channel.on("close", lambda: self.fail(f"channel closed: {self.progress()}"))

    def opened(self):
        self.open_ms = round((time.perf_counter() - self.remote_set_at) * 1000, 1)

    def next(self):
        if self.echoed == self.options.pings:
            self.finish()
            return
        self.sent = message(self.echoed)
        self.sent_at = time.perf_counter()
        self.channel.send(self.sent)

    def on_message(self, data):
        if self.options.role == "answer":
            self.channel.send(data)
            self.echoed += 1
            if self.echoed == self.options.pings:
                self.finish()
            return
        if data != self.sent:
            self.fail(f"echo {self.echoed} differs: sent {describe(self.sent)}, got {describe(data)}")
            return
        self.round_trips.append(time.perf_counter() - self.sent_at)
        self.echoed += 1
        self.next()

    async def offer(self):
        self.channel = self.pc.createDataChannel("echo")

        def on_open():
            self.opened()
            self.next()

        self.channel.on("open", on_open)
        self.channel.on("message", self.on_message)
        self.channel.on("close", lambda: self.fail(f"channel closed: {self.progress()}"))
        if self.options.media:
            self.add_media()
        await self.pc.setLocalDescription(await self.pc.createOffer())

    async def accept(self, remote):
        self.remote_set_at = time.perf_counter()
        await self.pc.setRemoteDescription(RTCSessionDescription(remote["sdp"], remote["type"]))

    async def answer(self, remote):
        await self.accept(remote)
        if self.options.media:
            self.add_media()
        await self.pc.setLocalDescription(await self.pc.createAnswer())

    def print_description(self):
        print_line(json.dumps({"type": self.pc.localDescription.type, "sdp": self.pc.localDescription.sdp}))

    async def run(self):
        try:
            await asyncio.wait_for(self.work(), self.options.timeout)
            err = None
        except asyncio.TimeoutError:
            err = f"timeout: {self.progress()}"
        except Exception as error:
            err = str(error)
        result = {"ok": err is None, "err": err, "open_ms": self.open_ms, "n": self.echoed, "p50_ms": median_ms(self.round_trips)}
        result.update(await self.transport())
        if self.options.media:
            result.update(await self.media())
        return result

    async def work(self):
        await self.finished
        while self.options.media and (
            self.frames["video"] < VIDEO_FRAMES_MIN or self.frames["audio"] < AUDIO_PACKETS_MIN
        ):
            await asyncio.sleep(0.15)

    async def media(self):
        packets = {}
        for stat in (await self.pc.getStats()).values():
            if stat.type == "inbound-rtp":
                packets[stat.kind] = stat.packetsReceived
        return {
            "audio": {"packets": packets.get("audio", 0), "frames": self.frames["audio"]},
            "video": {"packets": packets.get("video", 0), "frames_decoded": self.frames["video"], "size": self.size},
        }

    async def transport(self):
        """DTLS version, SRTP profile and pair; aiortc has them in private fields only."""
        facts = {"dtls": None, "srtp": None, "pair": None}
        dtls = self.pc.sctp.transport if self.pc.sctp else None
        try:
            facts["dtls"] = dtls._ssl.get_protocol_version_name().removeprefix("DTLSv")
            facts["srtp"] = dtls._ssl.get_selected_srtp_profile().decode() or None
            pair = next(iter(dtls.transport._connection._nominated.values()))
            facts["pair"] = {
                side: {"address": c.host, "port": c.port, "type": c.type, "protocol": c.transport}
                for side, c in (("local", pair.local_candidate), ("remote", pair.remote_candidate))
            }
        except (AttributeError, StopIteration):
            pass
        return facts

    def states(self):
        return f"ice {self.pc.iceConnectionState}, connection {self.pc.connectionState}, signaling {self.pc.signalingState}"

    def progress(self):
        return f"{self.echoed} of {self.options.pings} messages, media frames {self.frames}, {self.states()}"


async def main():
    options = parse_options()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    # A default descriptor of 64 kB is shorter than some descriptions.
    stdin = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    async def remote():
        line = await stdin.readline()
        if not line:
            raise RuntimeError("stdin ended before a description came")
        return json.loads(line)

    peer = Peer(options)
    try:
        if options.role == "offer":
            await peer.offer()
            peer.print_description()
            await peer.accept(await remote())
        else:
            await peer.answer(await remote())
            peer.print_description()
        result = await peer.run()
    except Exception as error:
        result = {"ok": False, "err": str(error), "n": 0}
    print_result(result)
    if result["ok"]:
        try:
            await asyncio.wait_for(stdin.readline(), HOLD_S)
        except asyncio.TimeoutError:
            pass
    try:
        await asyncio.wait_for(peer.pc.close(), 3)
    except asyncio.TimeoutError:
        pass
    # Codec threads and pending tasks must not keep a finished peer alive.
    os._exit(0 if result["ok"] else 1)


try:
    asyncio.run(main())
except asyncio.CancelledError:
    os._exit(1)
