"""Draws the results of cpu_bench.py: the speed relative to llama.cpp, per part.

    python bench/peers/chart.py figures.json docs/images/peers.svg
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "examples" / "demo_model"))

from plot import Bars, svg  # noqa: E402

PEERS = {"bf16": "llama.cpp bf16", "int8": "llama.cpp q8_0", "int4": "llama.cpp q4_0"}
PARTS = ("vision", "prefill", "decode")


def chart(figures: dict) -> Bars:
    """Median times of llama.cpp divided by those of pllava, at equal bits per weight."""

    def ratio(part: str, name: str) -> float:
        ours, theirs = (figures["ms"].get(engine, {}).get(part) for engine in (f"pllava {name}", PEERS[name]))
        return statistics.median(theirs) / statistics.median(ours) if ours and theirs else math.nan

    title = f"Speed at size {figures['size']}, {figures['rows']:,} rows, {figures['threads']} threads: llama.cpp is 1"
    return Bars(title, "times llama.cpp", PARTS, {name: [ratio(part, name) for part in PARTS] for name in PEERS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=pathlib.Path, help="output of cpu_bench.py --json")
    parser.add_argument("image", type=pathlib.Path, help="SVG file to write")
    options = parser.parse_args()
    options.image.write_text(svg([chart(json.loads(options.figures.read_text()))]), encoding="utf-8")


if __name__ == "__main__":
    main()
