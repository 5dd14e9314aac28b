"""aiortc as one side of a call that is negotiated again and again. What is asked of it is written down in ../talk.mjs.

It has no removeTrack: a track is removed by its sender and the direction, which is what removeTrack does.
"""

import asyncio
import json
import os
import re
import signal
import sys

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import VideoFrame

from echo import print_line

SHAPES = {"first": (320, 180), "other": (240, 240)}
# How long a message may take to come back.
PING_S = 10


class Picture(VideoStreamTrack):
    """Grey pictures that all differ."""

    def __init__(self, width, height):
        super().__init__()
        self.width, self.height = width, height
        self.number = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        self.number += 1
        frame = VideoFrame(self.width, self.height, "yuv420p")
        luma, *chroma = frame.planes
        luma.update(bytes([self.number * 4 % 256]) * luma.buffer_size)
        for plane in chroma:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


def sections(description):
    """The sections of a description, as far as a negotiation changes them."""
    found = []
    for text in re.split(r"^(?=m=)", description.sdp if description else "", flags=re.MULTILINE)[1:]:
        mid = re.search(r"^a=mid:(\S+)", text, re.MULTILINE)
        found.append({
            "kind": re.match(r"m=(\w+)", text).group(1),
            "mid": mid.group(1) if mid else None,
            "rejected": re.match(r"m=\w+ 0 ", text) is not None and "a=bundle-only" not in text,
        })
    return found


class Call:
    def __init__(self):
        # Without a configuration aiortc asks a public STUN server.
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.senders = {}
        self.kinds = {}
        self.tracks = []
        self.frames = {}
        self.sizes = {}
        self.back = asyncio.Queue()
        self.tasks = []
        self.pc.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self.count(track))))
        self.pc.on("datachannel", self.echo)

    def echo(self, channel):
        channel.on("message", channel.send)

    async def count(self, track):
        while True:
            try:
                frame = await track.recv()
            except Exception:  # The track has ended.
                return
            self.frames[track.id] = self.frames.get(track.id, 0) + 1
            if track.kind == "video":
                self.sizes[track.id] = [frame.width, frame.height]

    def open(self):
        self.channel = self.pc.createDataChannel("call")
        self.opened = asyncio.get_running_loop().create_future()
        self.channel.on("open", lambda: self.opened.set_result(None))
        self.channel.on("message", self.back.put_nowait)

    async def ping(self, text):
        await asyncio.wait_for(self.opened if not self.opened.done() else asyncio.sleep(0), PING_S)
        self.channel.send(text)
        while await asyncio.wait_for(self.back.get(), PING_S) != text:
            pass

    def track(self, kind, which):
        track = AudioStreamTrack() if kind == "audio" else Picture(*SHAPES[which])
        self.tracks.append(track)
        return track

    def add(self, name, kind):
        self.senders = {own: sender for own, sender in self.senders.items() if sender.track is not None}
        self.senders[name] = self.pc.addTrack(self.track(kind, "first"))
        self.kinds[name] = kind

    def remove(self, name):
        sender = self.senders.pop(name)
        sender.replaceTrack(None)
        transceiver = next(own for own in self.pc.getTransceivers() if own.sender is sender)
        transceiver.direction = "recvonly" if "recv" in transceiver.direction else "inactive"

    def replace(self, name, by):
        self.senders[name].replaceTrack(None if by is None else self.track(self.kinds[name], by))

    def direct(self, mid, direction):
        next(own for own in self.pc.getTransceivers() if own.mid == mid).direction = direction

    async def offer(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.local()

    async def answer(self, description):
        await self.accept(description)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return self.local()

    async def accept(self, description):
        await self.pc.setRemoteDescription(RTCSessionDescription(description["sdp"], description["type"]))

    def local(self):
        return {"type": self.pc.localDescription.type, "sdp": self.pc.localDescription.sdp}

    async def look(self):
        seen = []
        for transceiver in self.pc.getTransceivers():
            name = next((own for own, sender in self.senders.items() if sender is transceiver.sender), None)
            track = transceiver.receiver.track
            packets = 0
            for stat in (await transceiver.receiver.getStats()).values():
                if stat.type == "inbound-rtp":
                    packets += stat.packetsReceived
            seen.append({
                "mid": transceiver.mid,
                "kind": transceiver.kind,
                "sends": name,
                "direction": transceiver.direction,
                "currentDirection": transceiver.currentDirection,
                "packets": packets,
                "frames": self.frames.get(track.id, 0) if track else 0,
                "size": self.sizes.get(track.id) if track else None,
            })
        # Nothing pending is told apart by aiortc; where it is at rest, these are the current ones.
        return {
            "signaling": self.pc.signalingState,
            "connection": self.pc.connectionState,
            "transceivers": seen,
            "local": sections(self.pc.localDescription),
            "remote": sections(self.pc.remoteDescription),
        }

    async def close(self):
        for task in self.tasks:
            task.cancel()
        try:
            await asyncio.wait_for(self.pc.close(), 3)
        except asyncio.TimeoutError:
            pass


ASKED = {"open", "ping", "add", "remove", "replace", "direct", "offer", "answer", "accept", "look"}


async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: os._exit(1))
    # A default descriptor of 64 kB is shorter than some descriptions.
    stdin = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    call = None
    while line := await stdin.readline():
        asked = json.loads(line)
        what, given = asked["what"], asked["given"]
        try:
            if what == "fresh":
                if call is not None:
                    await call.close()
                call = Call()
                value = None
            elif what in ASKED:
                value = getattr(call, what)(**given)
                if asyncio.iscoroutine(value):
                    value = await value
            else:
                raise ValueError("aiortc has no such thing")
            answer = {"id": asked["id"], "value": value}
        except Exception as error:
            answer = {"id": asked["id"], "error": str(error) or type(error).__name__}
        print_line(json.dumps(answer))
    # Codec threads and pending tasks must not keep a finished side alive.
    os._exit(0)


asyncio.run(main())
