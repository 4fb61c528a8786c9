"""Measures llama.cpp, PyTorch and pllava with the same random weights, threads and prompt, in one run.

    python bench/peers/checkpoint.py --size 1b --out /var/tmp/1b
    python bench/peers/cpu_bench.py --weights /var/tmp/1b --size 1b --pllava build/pllava --threads 2

The parts: `vision`, one frame through CLIP ViT and the projector; `prefill`, a prompt of 2,400 rows; `decode`, one
token after it. The engines alternate within each round. The table shows medians over the rounds, the ratio to pllava,
and for pllava the fraction of the ceiling measured in the same process. llama.cpp runs with and without flash attention, and
the better time of each part counts; after the first round only the modes that were best for a part are run. Results are
printed and written after every round, so a run can be interrupted.

Needs torch, transformers 5 and xllamacpp (llama.cpp on PyPI). Its wheel uses AVX2; on a machine with AVX-512 build it
(pip install --no-binary xllamacpp xllamacpp).
"""

from __future__ import annotations

import argparse
import base64
import collections
import io
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import xllamacpp
from PIL import Image

from sizes import SIZES, Size

OURS = {"f32": ("--dtype", "f32"), "bf16": ("--dtype", "bf16"), "int8": ("--dtype", "int8"),
        "int4": ("--dtype", "int4"), "int4, int8 KV": ("--dtype", "int4", "--int8-kv")}
PEERS = {"f32": ("torch f32",), "bf16": ("llama.cpp bf16", "torch bf16"), "int8": ("llama.cpp q8_0",),
         "int4": ("llama.cpp q4_0",), "int4, int8 KV": ("llama.cpp q4_0",)}  # the engines that each is compared with
PARTS = ("vision", "prefill", "decode")
ROWS = 2400  # rows of the prompt
STEPS = 8  # decode steps
Times = dict[str, list[float]]  # part: milliseconds


# ---- llama.cpp


class LlamaCpp:
    """A language model in llama.cpp, optionally with a vision tower."""

    def __init__(self, text: pathlib.Path, threads: int, flash: bool, vision: pathlib.Path | None = None) -> None:
        p = xllamacpp.CommonParams()
        p.model.path, p.n_ctx, p.n_batch, p.n_parallel = str(text), ROWS + 64, ROWS, 1
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
        flash_type = xllamacpp.llama_flash_attn_type
        p.flash_attn_type = (flash_type.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash
                             else flash_type.LLAMA_FLASH_ATTN_TYPE_DISABLED)
        p.cache_prompt, p.fit_params, p.verbosity = False, False, -1
        if vision is not None:
            p.mmproj.path, p.mmproj_use_gpu = str(vision), False
        self.server = xllamacpp.Server(p)

    def read(self, rows: int, new: int = 1) -> dict[str, float]:
        """llama.cpp's timings of a prompt: four initial tokens, then one per letter."""
        answer = self.server.handle_completions({"prompt": "a" * (rows - 4), "n_predict": new, "ignore_eos": True,
                                                 "temperature": 0, "cache_prompt": False})
        timings = answer["timings"]
        if timings["prompt_n"] != rows or timings["predicted_n"] != new:
            sys.exit(f"llama.cpp: expected {rows} prompt tokens, got {timings['prompt_n']}")
        return timings

    def look(self, image: int, seed: int) -> dict[str, float]:
        """llama.cpp's timings of a prompt with an image."""
        data = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (image, image, 3), np.uint8)).save(data, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
        message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
        answer = self.server.handle_chat_completions({"messages": [message], "max_tokens": 1, "cache_prompt": False})
        return answer["timings"]


def llama_round(options: argparse.Namespace, kind: str, image: int,
                attention: Sequence[bool]) -> tuple[dict[str, float], tuple[bool, ...]]:
    """Runs each part once with each attention mode (flash or not). Returns the best times, and the modes that were best
    for any part. Frees the models."""
    found: dict[str, float] = {}
    better: dict[str, bool] = {}

    def keep(part: str, value: float, flash: bool) -> None:
        if value < found.get(part, math.inf):
            found[part], better[part] = value, flash

    for flash in attention:
        model = LlamaCpp(options.weights / f"text-{kind}.gguf", options.threads, flash)
        timings = model.read(ROWS, STEPS + 1)
        for part, value in (("prefill", timings["prompt_ms"]), ("decode", timings["predicted_ms"] / STEPS)):
            keep(part, value, flash)
        vision = options.weights / f"vision-{kind}.gguf"
        if vision.exists():  # the time of an image with one layer, minus that of as many text tokens
            model = LlamaCpp(options.weights / "short.gguf", options.threads, flash, vision)
            model.look(image, 0)  # warms up
            looked = model.look(image, 1)
            keep("vision", looked["prompt_ms"] - model.read(looked["prompt_n"])["prompt_ms"], flash)
        del model
    return found, tuple(sorted(set(better.values())))


# ---- torch and pllava


def run_json(command: Sequence[str], threads: int) -> dict:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
                          env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    return json.loads(done.stdout)


def one_frame(size: Size) -> tuple[str, ...]:
    """Options of both programs: one frame, and text for the remaining rows."""
    return "--frames", "1", "--text-rows", str(ROWS - size.video_rows // size.pool[0]), "--runs", "1", "--json"


def torch_round(options: argparse.Namespace, dtype: str, size: Size) -> dict[str, float]:
    script = pathlib.Path(__file__).with_name("transformers_bench.py")
    found = run_json([sys.executable, str(script), "--preset", options.size, "--dtype", dtype, "--device", "cpu",
                      *one_frame(size), "--parts", "projector", *PARTS], options.threads)["median_ms"]["transformers"]
    return {"vision": found["vision"] + found["projector"], "prefill": found["prefill"], "decode": found["decode"]}


def pllava_round(options: argparse.Namespace, name: str, size: Size) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds, and fractions of the ceiling."""
    found = run_json([options.pllava, "bench", "--model", str(options.weights), "--threads", str(options.threads),
                      "--until", "decode", "--quiet", *one_frame(size), *OURS[name]], options.threads)
    parts = {part["part"]: part for part in found["parts"]}
    times = {part: parts[part]["median_ms"] for part in PARTS}
    times["vision"] += parts["projector"]["median_ms"]
    return times, {part: parts[part]["of_ceiling"] for part in PARTS}


# ---- the run


def rounds(options: argparse.Namespace) -> Iterator[tuple[dict[str, Times], dict[str, Times]]]:
    """Yields after each round: all times so far in ms, and pllava's fractions of the ceiling."""
    size = SIZES[options.size]
    times, fractions = (collections.defaultdict(lambda: collections.defaultdict(list)) for _ in range(2))
    engines = [*(f"pllava {name}" for name in options.types),
               *dict.fromkeys(peer for name in options.types for peer in PEERS[name] if peer not in options.without)]
    attention: dict[str, tuple[bool, ...]] = {}  # modes of llama.cpp
    for number in range(options.rounds):
        for engine in engines:
            program, name = engine.split(" ", 1)
            start = time.monotonic()
            if program == "pllava":
                found, reached = pllava_round(options, name, size)
                for part, value in reached.items():
                    fractions[engine][part].append(value)
            elif program == "torch":
                found = torch_round(options, name, size)
            else:
                found, attention[name] = llama_round(options, name, size.image, attention.get(name, (False, True)))
            for part, value in found.items():
                times[engine][part].append(value)
            told = ", ".join(f"{part} {value:.0f} ms" for part, value in found.items())
            print(f"round {number + 1}, {engine}: {told} ({time.monotonic() - start:.0f} s)", file=sys.stderr)
        yield times, fractions


def table(times: dict[str, Times], fractions: dict[str, Times]) -> str:
    """A Markdown table: medians, ratios to peers with the same bits per weight, fractions of the ceiling."""
    lines = ["| part | | ms | of the ceiling | peer | ms | ratio |", "|---|---|---|---|---|---|---|"]
    for part in PARTS:
        for name, peers in PEERS.items():
            ours = f"pllava {name}"
            if ours not in times:
                continue
            mine, reached = (statistics.median(of[ours][part]) for of in (times, fractions))
            for peer in peers:
                if part in times.get(peer, {}):
                    theirs = statistics.median(times[peer][part])
                    lines.append(f"| {part} | {ours} | {mine:.0f} | {reached:.2f} | {peer} | {theirs:.0f} | "
                                 f"{theirs / mine:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=pathlib.Path, required=True, help="directory of checkpoint.py")
    parser.add_argument("--size", choices=SIZES, default="1b", help="size of the weights")
    parser.add_argument("--pllava", required=True, metavar="PATH", help="path of the program")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of threads (default: all cores)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default 5)")
    parser.add_argument("--types", nargs="+", choices=OURS, default=list(OURS),
                        help="weight types of pllava to measure, with their peers")
    parser.add_argument("--without", nargs="+", choices=[p for peers in PEERS.values() for p in peers], default=[],
                        help="peers to skip: torch in bf16 takes minutes on a machine without bf16 instructions")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="file for all times")
    options = parser.parse_args()
    for times, fractions in rounds(options):
        print(table(times, fractions), flush=True)
        if options.json:
            figures = {"size": options.size, "threads": options.threads, "rows": ROWS, "ms": times,
                       "of_ceiling": fractions}
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
