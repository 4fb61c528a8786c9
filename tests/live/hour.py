#!/usr/bin/env python3
"""Watches a synthetic stream of an hour with the demo model, as fast as the machine can.

    python tests/live/hour.py build/pllava [--seconds 3600] [--every 2] [--rolling]

Each 2 s of the stream are a scene of examples/demo_model/world.py with one thing and at most one event, in the
eight frames that the model takes; the window has eight frames, and a question is asked at the end of each scene
(with --every at equal intervals, the last at its end), so the truth of every such window is known. Checked: all answers; at least 95 % tell the scene's events;
resident memory after the first tenth grows by at most 2 %; the recording replays to the same events.
Needs numpy, and ffmpeg on the PATH.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

DEMO = pathlib.Path(__file__).resolve().parents[2] / "examples" / "demo_model"
sys.path.insert(0, str(DEMO))

import numpy as np  # noqa: E402
from language import parse_story, true_story  # noqa: E402
from render import render, sample_times  # noqa: E402
from world import sample_scene  # noqa: E402

FRAMES, FPS, SIDE = 8, 4, 96
SECONDS = FRAMES / FPS  # of a scene


def scenes(count, seed):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, 1 + i % 2) for i in range(count)]


def write_stream(path, stream):
    """A frame before the first scene, so that each scene ends at a multiple of its length."""
    ffmpeg = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{SIDE}x{SIDE}",
         "-framerate", str(FPS), "-i", "-", "-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-g", "16",
         "-pix_fmt", "yuv420p", str(path)], stdin=subprocess.PIPE)
    ffmpeg.stdin.write(bytes(SIDE * SIDE * 3))
    for scene in stream:
        ffmpeg.stdin.write(render(scene, sample_times(scene, FRAMES), (SIDE, SIDE)).tobytes())
    ffmpeg.stdin.close()
    if ffmpeg.wait() != 0:
        raise SystemExit("ffmpeg failed")


def resident_kib(pid):
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * 4
    except (OSError, IndexError):
        return 0


def watch(program, source, every, *options):
    """The events, the resident memory over time as (events so far, KiB), and the seconds."""
    start = time.monotonic()
    process = subprocess.Popen(
        [program, "watch", str(source), "--model", str(DEMO / "weights"), "--fps", str(FPS), "--window", str(FRAMES),
         "--every", f"{every}s", "--json", "--quiet", *options], stdout=subprocess.PIPE, text=True)
    events, memory, ended = [], [], threading.Event()

    def poll():
        while not ended.wait(0.2):
            memory.append((len(events), resident_kib(process.pid)))

    poller = threading.Thread(target=poll)
    poller.start()
    for line in process.stdout:
        events.append(json.loads(line))
    ended.set()
    poller.join()
    if process.wait() != 0:
        raise SystemExit(f"watch failed with {process.returncode}")
    return events, [(n, kib) for n, kib in memory if kib > 0], time.monotonic() - start


def reproducible(events):
    return [{k: v for k, v in event.items() if k not in ("timings_ms", "live")} for event in events]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pllava", help="the program")
    parser.add_argument("--seconds", type=int, default=3600, help="length of the stream")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--every", type=float, default=SECONDS, help="seconds between questions: 2, 1, 0.5 or 0.25")
    parser.add_argument("--rolling", action="store_true", help="roll the KV cache instead of prefilling the window")
    arguments = parser.parse_args()
    options = ["--rolling"] if arguments.rolling else []
    per_scene = int(SECONDS / arguments.every)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        stream = scenes(int(arguments.seconds / SECONDS), arguments.seed)
        write_stream(folder / "stream.mkv", stream)
        events, memory, seconds = watch(arguments.pllava, folder / "stream.mkv", arguments.every, "--record",
                                        str(folder / "recording"), *options)
        replayed, _, _ = watch(arguments.pllava, folder / "recording", arguments.every, *options)
    right = sum(parse_story(event["text"]) == true_story(scene)
                for event, scene in zip(events[per_scene - 1 :: per_scene], stream))
    settled = [kib for n, kib in memory if n >= len(events) / 10]
    growth = max(settled) / settled[0] - 1
    result = {"scenes": len(stream), "answers": len(events), "right": right / len(stream), "seconds": round(seconds, 1),
              "resident_kib": settled[0], "memory_growth": round(growth, 4),
              "replay_is_equal": reproducible(events) == reproducible(replayed)}
    print(json.dumps(result))
    is_good = (len(events) == len(stream) * per_scene and growth <= 0.02 and result["replay_is_equal"]
               and (arguments.rolling or result["right"] >= 0.95))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
