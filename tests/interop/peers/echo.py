"""What the Python peers share: arguments, the messages, lines on stdin and stdout. See process.mjs for the protocol."""

import argparse
import json
import statistics
import sys

# The same as in w3c.mjs.
VIDEO_FRAMES_MIN = 20
AUDIO_PACKETS_MIN = 50
MESSAGE_LEN_MAX = 16384

# How long a peer stays for the other side after its own result.
HOLD_S = 10


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["offer", "answer"])
    parser.add_argument("--media", action="store_true")
    parser.add_argument("--video", choices=["vp8", "vp9", "h264"], default="vp8")
    parser.add_argument("--pings", type=int, default=200)
    parser.add_argument("--ice-server", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=40)
    return parser.parse_args()


def message(index):
    """The message number `index`: text and binary in turn, 1 byte to 16 KiB, the same on every run."""
    step = index >> 1
    length = 1 if step == 0 else MESSAGE_LEN_MAX if step == 1 else 1 + step * 7919 % MESSAGE_LEN_MAX
    if index % 2 == 0:
        # Every fourth text has characters of two, three and four bytes in UTF-8.
        return "é€😀" * -(-length // 9) if step % 4 == 2 else chr(33 + index % 90) * length
    return bytes((at * 31 + index) & 0xFF for at in range(length))


def describe(data):
    return f"text of {len(data)} characters" if isinstance(data, str) else f"{len(data)} bytes"


def median_ms(seconds):
    return round(statistics.median(seconds) * 1000, 3) if seconds else None


def print_line(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_result(result):
    print_line("RESULT " + json.dumps(result))
