"""GStreamer's webrtcbin: libnice, OpenSSL's DTLS, usrsctp.

Needs Debian's own python3 (its `gi` module) and the program openssl. Everything but counting happens on the GLib main
loop: callbacks from GStreamer's threads only queue work there.
"""

import hashlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from echo import (  # noqa: E402
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

# How each codec is encoded and split, and put together and decoded; its name in descriptions.
CODECS = {
    "vp8": (
        "VP8",
        "vp8enc deadline=1 keyframe-max-dist=30 target-bitrate=300000 ! rtpvp8pay",
        "rtpvp8depay ! vp8dec",
    ),
    "vp9": (
        "VP9",
        "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=30 target-bitrate=300000 ! rtpvp9pay",
        "rtpvp9depay ! vp9dec",
    ),
}
SENDERS = """
  videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=15/1 ! videoconvert
    ! {encoder} pt={video} ! queue ! application/x-rtp,media=video,encoding-name={name},payload={video} ! bin.
  audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt={audio} ! queue
    ! application/x-rtp,media=audio,encoding-name=OPUS,payload={audio} ! bin.
"""
END = "fakesink name=end sync=false signal-handoffs=true"


class Peer:
    def __init__(self, options):
        self.options = options
        self.loop = GLib.MainLoop()
        self.frames = {"audio": 0, "video": 0}
        self.echoed = 0
        self.open_ms = None
        self.round_trips = []
        self.channel = None
        self.described = False
        self.result = None
        self.key, self.certificate = ecdsa_certificate()
        # Promises are kept here: a temporary is freed while GStreamer still holds it.
        self.promises = []
        GLib.timeout_add(int(options.timeout * 1000), lambda: self.end(f"timeout: {self.progress()}"))
        threading.Thread(target=self.read_stdin, daemon=True).start()
        if options.video not in CODECS:
            self.end(f"webrtcbin peer: sends {', '.join(CODECS)}, not {options.video}")
        elif options.role == "offer":
            GLib.idle_add(self.offer)

    def build(self, payload_types):
        name, encoder, self.decoder = CODECS[self.options.video]
        senders = SENDERS.format(name=name, encoder=encoder, **payload_types) if self.options.media else ""
        if senders:
            self.pipeline = Gst.parse_launch("webrtcbin name=bin bundle-policy=max-bundle " + senders)
        else:
            self.pipeline = Gst.Pipeline()
            element = Gst.ElementFactory.make("webrtcbin", "bin")
            element.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
            self.pipeline.add(element)
        self.bin = self.pipeline.get_by_name("bin")
        self.bin.connect("deep-element-added", self.certify)
        self.bin.connect("notify::ice-gathering-state", lambda *_: GLib.idle_add(self.print_description))
        self.bin.connect("notify::connection-state", lambda *_: GLib.idle_add(self.on_state))
        self.bin.connect("on-data-channel", self.on_channel)
        self.bin.connect("pad-added", self.on_pad)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, text: self.end(f"pipeline: {text.parse_error()[0].message}"))

    def certify(self, _, __, element):
        """The certificate that elements make is of RSA, which WebRTC stacks need not know (RFC 8827 section 6.5)."""
        factory = element.get_factory()
        if factory is not None and factory.get_name() == "dtlssrtpdec":
            element.set_property("pem", self.key + self.certificate)

    def offer(self):
        self.build({"video": 96, "audio": 111})
        self.pipeline.set_state(Gst.State.READY)
        self.on_channel(self.bin, self.bin.emit("create-data-channel", "echo", None))
        self.pipeline.set_state(Gst.State.PLAYING)
        # Without caps on the sending pads the offer has no codecs: wait until each has some.
        self.when_ready(lambda: self.create("offer"))

    def when_ready(self, then):
        pads = [pad for pad in self.bin.pads if pad.direction == Gst.PadDirection.SINK]
        if all(pad.get_current_caps() is not None for pad in pads):
            then()
        else:
            GLib.timeout_add(20, lambda: self.when_ready(then))
        return False

    def create(self, kind):
        def created(promise, *_):
            # In a variable of its own: the description borrows from the reply.
            reply = promise.get_reply()
            description = reply.get_value(kind)
            done = Gst.Promise.new()
            self.promises.append(done)
            self.bin.emit("set-local-description", description, done)

        promise = Gst.Promise.new_with_change_func(created, None, None)
        self.promises.append(promise)
        self.bin.emit(f"create-{kind}", None, promise)

    def print_description(self):
        complete = self.bin.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE
        local = self.bin.get_property("local-description")
        if complete and local is not None and not self.described:
            self.described = True
            # webrtcbin takes the hash of all that it was given as PEM, of the key as well.
            sdp = re.sub(r"a=fingerprint:.*", f"a=fingerprint:sha-256 {fingerprint(self.certificate)}\r", local.sdp.as_text())
            print_line(json.dumps({"type": self.options.role, "sdp": sdp}))
        return False

    def read_stdin(self):
        line = sys.stdin.readline()
        if not line:
            GLib.idle_add(self.end, "stdin ended before a description came")
            return
        GLib.idle_add(self.accept, json.loads(line))
        sys.stdin.read()
        GLib.idle_add(self.leave)

    def accept(self, remote):
        self.remote_set_at = time.perf_counter()
        if self.options.role == "answer":
            self.build(payload_types_of(remote["sdp"], CODECS[self.options.video][0]))
            self.pipeline.set_state(Gst.State.PLAYING)
            self.when_ready(lambda: self.set_remote(remote))
        else:
            self.set_remote(remote)
        return False

    def set_remote(self, remote):
        kind = GstWebRTC.WebRTCSDPType.OFFER if remote["type"] == "offer" else GstWebRTC.WebRTCSDPType.ANSWER
        _, sdp = GstSdp.SDPMessage.new_from_text(remote["sdp"])
        description = GstWebRTC.WebRTCSessionDescription.new(kind, sdp)

        def set_done(promise, *_):
            reply = promise.get_reply()
            if reply is not None and reply.has_field("error"):
                GLib.idle_add(self.end, f"set-remote-description: {reply.get_value('error').message}")
            elif remote["type"] == "offer":
                GLib.idle_add(self.create, "answer")

        promise = Gst.Promise.new_with_change_func(set_done, None, None)
        self.promises.append(promise)
        self.bin.emit("set-remote-description", description, promise)

    def on_channel(self, _, channel):
        self.channel = channel
        channel.connect("on-open", lambda _: GLib.idle_add(self.opened))
        channel.connect("on-message-string", lambda _, text: GLib.idle_add(self.receive, text or ""))
        channel.connect("on-message-data", lambda _, data: GLib.idle_add(self.receive, data.get_data() if data else b""))
        channel.connect("on-close", lambda _: GLib.idle_add(self.end, f"channel closed: {self.progress()}"))
        if channel.get_property("ready-state") == GstWebRTC.WebRTCDataChannelState.OPEN:
            GLib.idle_add(self.opened)

    def opened(self):
        if self.open_ms is None:
            self.open_ms = round((time.perf_counter() - self.remote_set_at) * 1000, 1)
            if self.options.role == "offer":
                self.next()
        return False

    def on_pad(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        kind = pad.get_current_caps().get_structure(0).get_value("media")
        decoder = self.decoder if kind == "video" else "rtpopusdepay ! opusdec"
        receiver = Gst.parse_bin_from_description(f"{decoder} ! {END}", True)

        def count(*_):
            self.frames[kind] += 1

        receiver.get_by_name("end").connect("handoff", count)
        self.pipeline.add(receiver)
        receiver.sync_state_with_parent()
        pad.link(receiver.get_static_pad("sink"))

    def on_state(self):
        if self.bin.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.end(f"connection failed ({self.states()})")
        return False

    def next(self):
        if self.echoed == self.options.pings:
            self.finish()
            return
        self.sent = message(self.echoed)
        self.sent_at = time.perf_counter()
        self.send(self.sent)

    def send(self, data):
        if isinstance(data, str):
            self.channel.emit("send-string", data)
        else:
            self.channel.emit("send-data", GLib.Bytes.new(data))

    def receive(self, data):
        if self.options.role == "answer":
            self.send(data)
            self.echoed += 1
            if self.echoed == self.options.pings:
                self.finish()
        elif data != self.sent:
            self.end(f"echo {self.echoed} differs: sent {describe(self.sent)}, got {describe(data)}")
        else:
            self.round_trips.append(time.perf_counter() - self.sent_at)
            self.echoed += 1
            self.next()
        return False

    def finish(self):
        """All messages are through: done, once media is."""
        if self.options.media and (
            self.frames["video"] < VIDEO_FRAMES_MIN or self.frames["audio"] < AUDIO_PACKETS_MIN
        ):
            GLib.timeout_add(150, self.finish)
        else:
            self.end(None)
        return False

    def end(self, err):
        if self.result is not None:
            return False
        self.result = {"ok": err is None, "err": err, "open_ms": self.open_ms, "n": self.echoed, "p50_ms": median_ms(self.round_trips)}
        # webrtcbin 1.22 speaks DTLS 1.2 only and has no statistics for profile or selected pair.
        self.result.update({"dtls": "1.2" if self.open_ms is not None else None, "srtp": None, "pair": None})
        if self.options.media:
            self.result["audio"] = {"frames": self.frames["audio"]}
            self.result["video"] = {"frames_decoded": self.frames["video"], "codec": f"video/{CODECS[self.options.video][0]}"}
        print_result(self.result)
        if err is None:
            GLib.timeout_add(HOLD_S * 1000, self.leave)
        else:
            self.leave()
        return False

    def leave(self):
        if self.result is None:
            # stdin may end early when a program feeds us from a file; the test still runs.
            GLib.timeout_add(50, self.leave)
        else:
            # Taking webrtcbin down can block on its own threads; there is nothing to save.
            os._exit(0 if self.result["ok"] else 1)
        return False

    def states(self):
        if not hasattr(self, "bin"):
            return "not started"
        nick = lambda name: self.bin.get_property(name).value_nick
        return f"ice {nick('ice-connection-state')}, connection {nick('connection-state')}, signaling {nick('signaling-state')}"

    def progress(self):
        return f"{self.echoed} of {self.options.pings} messages, media frames {self.frames}, {self.states()}"


def ecdsa_certificate():
    """A key of P-256 and its certificate, each as PEM."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=webrtcbin"
    made = subprocess.run([*command.split(), "-keyout", "-", "-out", "-"], capture_output=True, check=True, text=True)
    at = made.stdout.index("-----BEGIN CERTIFICATE")
    return made.stdout[:at], made.stdout[at:]


def fingerprint(certificate):
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest().upper()
    return ":".join(re.findall("..", digest))


def payload_types_of(sdp, video):
    """The offer's numbers for the picture's codec and Opus: webrtcbin does not translate between two numberings."""
    numbers = {}
    for kind, codec, default in (("video", video, 96), ("audio", "opus", 111)):
        found = re.search(rf"a=rtpmap:(\d+) {codec}/", sdp, re.IGNORECASE)
        numbers[kind] = int(found.group(1)) if found else default
    return numbers


Gst.init(None)
signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
Peer(parse_options()).loop.run()
