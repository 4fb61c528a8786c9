#!/usr/bin/env python3
"""Reads live sources of real peers on the loopback interface with tests/live/probe.cpp.

Every frame shows its number, and the peers send 25 frames per second, so the age of a frame is
known: its time of arrival minus its number / 25, minus the least such difference of the connection.
Checked for each protocol: the order of the frames and their times, and the age of the first frame
after the consumer has stalled. For streams that come back: 20 returns of the sender, alternating in
size, with memory, threads and ages as before.
"""
import argparse
import contextlib
import functools
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

FPS = 25
CLIP_FRAMES = 4000  # the 12 bits of a frame show its number
RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer, GLib
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( filesrc location={sys.argv[2]} ! qtdemux ! h264parse ! identity sync=true ! rtph264pay name=pay0 config-interval=1 )")
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
GLib.MainLoop().run()
"""


class Failure(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise Failure(message)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Probe:
    def __init__(self, program, source, *options):
        self.process = subprocess.Popen(
            [program, source, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = self._read()["opened"]

    def _read(self):
        line = self.process.stdout.readline()
        expect(line, "the probe ended")
        return json.loads(line)

    def take(self, count, seconds=20):
        """Frames until `count`, the end, an error or the deadline; and which of them."""
        self.process.stdin.write(f"take {count} {seconds}\n")
        self.process.stdin.flush()
        frames = []
        while "result" not in (line := self._read()):
            frames.append(line)
        return frames, line["result"]

    def stats(self):
        self.process.stdin.write("stats\n")
        self.process.stdin.flush()
        return self._read()

    def close(self):
        self.process.stdin.close()
        expect(self.process.wait(20) == 0, "the probe failed")


@contextlib.contextmanager
def running(*command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.DEVNULL),
                               stderr=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def sender(clip, *output):
    """ffmpeg, which sends the clip in real time without encoding it again."""
    return running("ffmpeg", "-loglevel", "error", "-re", "-i", clip, "-c", "copy", *output)


def capture_delay(frame):
    return frame["wall"] - frame["shown"] / FPS


def check_order(frames):
    for a, b in zip(frames, frames[1:]):
        expect(b["shown"] > a["shown"], f"frame {b['shown']} after {a['shown']}")
        expect(b["time"] > a["time"], f"time {b['time']} after {a['time']}")
        drift = (b["time"] - a["time"]) - (b["shown"] - a["shown"]) / FPS
        expect(abs(drift) < 0.3, f"times of frames {a['shown']} and {b['shown']} are off by {drift} s")


def stall(program, source, seconds, *options, oldest=1.0):
    """The frames of a consumer that stops for a while. `oldest`: the age that its first frame may
    have, in seconds. Returns what is worth a line."""
    probe = Probe(program, source, *options)
    before, result = probe.take(50)
    expect(result == "taken", f"50 frames were expected, not {len(before)} and {result}")
    time.sleep(seconds)
    after, result = probe.take(50)
    expect(result == "taken", f"50 frames were expected, not {len(after)} and {result}")
    check_order(before + after)
    best = min(map(capture_delay, before + after))
    age = capture_delay(after[0]) - best
    expect(age < oldest, f"after a stall of {seconds} s the first frame is {age:.2f} s old")
    stats = probe.stats()
    expect(stats["dropped"] >= FPS * (seconds - 1.5), f"only {stats['dropped']} frames were dropped")
    probe.close()
    return {"age_after_stall_s": round(age, 3),
            "first_frame_age_s": round(capture_delay(before[0]) - best, 3),
            "dropped": stats["dropped"], "damaged": stats["damaged"]}


def returns(program, source, start, times, *options, reconnects):
    """A sender that dies and comes back `times` times. `start(i)`: starts it. `reconnects`: the
    least number of connections that are made again."""
    with start(0):
        probe = Probe(program, source, "reconnect=1", "timeout=1", *options)
        frames, result = probe.take(20)
        expect(result == "taken", f"the first sender: {result}")
    ages, resident, threads, widths, last_time = [], [], [], set(), frames[-1]["time"]
    for i in range(1, times + 1):
        with start(i):
            frames, result = probe.take(1000, 2.5)
            expect(result == "deadline", f"return {i}: {result}")
            fresh = [f for f in frames if f["time"] > last_time]
            expect(len(fresh) == len(frames), f"return {i}: times fall")
            # The frames of the new sender: their numbers start again.
            begin = max((k for k in range(1, len(frames)) if frames[k]["shown"] < frames[k - 1]["shown"]), default=0)
            frames = frames[begin:]
            expect(len(frames) >= 10, f"return {i}: only {len(frames)} frames")
            check_order(frames)
            best = min(map(capture_delay, frames))
            ages.append(max(capture_delay(f) - best for f in frames[5:]))
            widths.add(frames[-1]["width"])
            last_time = frames[-1]["time"]
            stats = probe.stats()
            resident.append(stats["resident_kib"])
            threads.append(stats["threads"])
    probe.close()
    growth = resident[-1] - resident[len(resident) // 4]
    expect(growth < 4096, f"memory grew by {growth} KiB: {resident}")
    expect(threads[-1] == threads[0], f"threads: {threads}")
    expect(max(ages[len(ages) // 2:]) < 1, f"ages: {ages}")
    expect(len(widths) == 2, f"widths: {widths}")
    expect(stats["reconnects"] >= reconnects, f"{stats['reconnects']} reconnections")
    return {"returns": times, "memory_growth_kib": growth, "oldest_frame_s": round(max(ages), 3),
            "reconnects": stats["reconnects"]}


class Peers:
    def __init__(self, program, folder, stall_s, returns_):
        self.program, self.folder, self.stall_s, self.returns_ = program, folder, stall_s, returns_
        self.clips = {}
        for name, codec, width, height in (("a.ts", "mpeg2video", 96, 64), ("b.ts", "mpeg2video", 160, 96),
                                           ("jpeg.mkv", "mjpeg", 96, 64)):
            self.clips[name] = os.path.join(folder, name)
            subprocess.run([program, "write", self.clips[name], codec, str(width), str(height), str(CLIP_FRAMES)],
                           check=True)
        # RTP carries H.264 frame by frame; several MPEG-4 frames can share a packet.
        for name in "ab":
            self.clips[name + ".mp4"] = os.path.join(folder, name + ".mp4")
            subprocess.run(["ffmpeg", "-loglevel", "error", "-i", self.clips[name + ".ts"], "-c:v", "libx264",
                            "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25",
                            self.clips[name + ".mp4"]], check=True)

    def udp(self):
        url = f"udp://127.0.0.1:{free_port()}"
        with sender(self.clips["a.ts"], "-f", "mpegts", url + "?pkt_size=1316"):
            return stall(self.program, url, self.stall_s)

    def udp_returns(self):
        url = f"udp://127.0.0.1:{free_port()}"
        start = lambda i: sender(self.clips["ab"[i % 2] + ".ts"], "-f", "mpegts", url + "?pkt_size=1316")
        return returns(self.program, url, start, self.returns_, reconnects=0)  # a datagram has no connection

    def tcp(self):
        url = f"tcp://127.0.0.1:{free_port()}"
        with sender(self.clips["a.ts"], "-f", "mpegts", url + "?listen=1"):
            wait_for_listener(url)
            return stall(self.program, url, self.stall_s)

    def mjpeg_over_http(self):
        url = f"http://127.0.0.1:{free_port()}/"
        with sender(self.clips["jpeg.mkv"], "-f", "mpjpeg", "-listen", "1", url):
            wait_for_listener(url)
            return stall(self.program, url, self.stall_s)

    def hls(self):
        folder = os.path.join(self.folder, "hls")
        os.mkdir(folder)
        handler = functools.partial(QuietHandler, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sender(self.clips["a.ts"], "-f", "hls", "-hls_time", "1", "-hls_list_size", "4",
                    "-hls_flags", "delete_segments", os.path.join(folder, "live.m3u8")):
            wait_for(lambda: os.path.exists(os.path.join(folder, "live2.ts")))
            result = stall(self.program, f"http://127.0.0.1:{server.server_port}/live.m3u8", self.stall_s,
                           oldest=2.0)  # a segment of 1 s arrives whole
        server.shutdown()
        return result

    def growing_file(self):
        path = os.path.join(self.folder, "growing.ts")
        with sender(self.clips["a.ts"], "-f", "mpegts", "-flush_packets", "1", path):
            wait_for(lambda: os.path.exists(path) and os.path.getsize(path) > 0)
            return stall(self.program, path, self.stall_s, "follow=1")

    def pipe(self):
        path = os.path.join(self.folder, "fifo")
        os.mkfifo(path)
        with sender(self.clips["a.ts"], "-f", "mpegts", "-flush_packets", "1", "-y", path):
            return stall(self.program, path, self.stall_s, "follow=1")

    def rtsp_server(self, port, clip):
        return running("/usr/bin/python3", "-c", RTSP_SERVER, str(port), clip)

    def rtsp(self):
        need_rtsp_server()
        port = free_port()
        with self.rtsp_server(port, self.clips["a.mp4"]):
            wait_for_listener(f"rtsp://127.0.0.1:{port}")
            return stall(self.program, f"rtsp://127.0.0.1:{port}/live", self.stall_s)

    def rtsp_returns(self):
        need_rtsp_server()
        port = free_port()
        start = lambda i: self.rtsp_server(port, self.clips["ab"[i % 2] + ".mp4"])

        @contextlib.contextmanager
        def started(i):
            with start(i) as process:
                wait_for_listener(f"rtsp://127.0.0.1:{port}")
                yield process

        return returns(self.program, f"rtsp://127.0.0.1:{port}/live", started, self.returns_,
                       reconnects=self.returns_)


class Skipped(Exception):
    pass


def need_rtsp_server():
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if subprocess.run(["/usr/bin/python3", "-c", code], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skipped("GStreamer's RTSP server was not found (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi)")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < end, "the peer did not start")
        time.sleep(0.02)


def wait_for_listener(url):
    """Without connecting: some peers serve one client."""
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    any_address = f"00000000:{port:04X} 00000000:0000 0A"

    def listens():
        table = open("/proc/net/tcp").read()
        return wanted in table or any_address in table

    wait_for(listens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe", help="the program live_probe")
    parser.add_argument("protocol", nargs="*", help="default: all")
    parser.add_argument("--stall", type=float, default=10, help="seconds (default 10)")
    parser.add_argument("--returns", type=int, default=20, help="of a sender (default 20)")
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("skipped: ffmpeg was not found (Debian: ffmpeg)")
        return 77
    names = ["udp", "tcp", "mjpeg_over_http", "hls", "growing_file", "pipe", "rtsp", "udp_returns", "rtsp_returns"]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        peers = Peers(arguments.probe, folder, arguments.stall, arguments.returns)

        def run(name):
            try:
                results[name] = getattr(peers, name)()
            except Skipped as e:
                results[name] = {"skipped": str(e)}
            except Exception as e:
                results[name] = {"failed": f"{type(e).__name__}: {e}"}
            if not arguments.json:
                print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in results[name].items()), flush=True)

        threads = [threading.Thread(target=run, args=(name,)) for name in arguments.protocol or names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if arguments.json:
        print(json.dumps(results))
    if any("failed" in r for r in results.values()):
        return 1
    return 77 if any("skipped" in r for r in results.values()) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
