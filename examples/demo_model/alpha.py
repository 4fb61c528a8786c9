"""Scores a model at several values of LoRA alpha, as a Markdown table.

    python alpha.py --seed 90001 --clips 200 --pllava ../../build/pllava --alphas 0 4 32

The clips are the fresh ones of evaluate.py, rendered once. The program merges the LoRA at each alpha. The
model was trained at 4; 0 disables the LoRA.

Needs numpy, and ffmpeg on the PATH.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

from clips import sample_clips, write_clips
from evaluate import Program, Scores, score_clips

HEAD = ("| alpha | multiple choice, % | kind F1 | thing F1 | motion F1 | events in order, % |",
        "|---|---|---|---|---|---|")


def table_row(alpha: float, scores: Scores) -> str:
    return (f"| {alpha:g} | {scores.overall().percent():.1f} | {scores.kind.f1():.3f} | "
            f"{scores.thing.f1():.3f} | {scores.motion.f1():.3f} | {scores.order.percent():.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pllava", required=True, metavar="PATH", help="path of the program")
    parser.add_argument("--model", metavar="DIR", default=str(pathlib.Path(__file__).parent / "weights"),
                        help="checkpoint directory (default: weights, next to this file)")
    parser.add_argument("--seed", type=int, default=90001, metavar="N", help="seed of the clips (default 90001)")
    parser.add_argument("--clips", type=int, default=200, metavar="K", help="number of clips (default 200)")
    parser.add_argument("--alphas", type=float, nargs="+", default=[0, 4, 32], metavar="A",
                        help="values of LoRA alpha (default 0 4 32)")
    parser.add_argument("--options", default="", metavar="TEXT",
                        help='further options of every call, for example "--threads 1"')
    options = parser.parse_args()
    clips = list(sample_clips(options.seed, options.clips, "train", (1, 2, 3, 4)))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name) / "clips"
        write_clips(folder, clips)
        print(*HEAD, sep="\n", flush=True)
        for alpha in options.alphas:
            program = Program(options.pllava, ("--model", options.model, "--lora-alpha", f"{alpha:g}",
                                               *options.options.split()))
            print(table_row(alpha, score_clips(program, clips, folder, [])), flush=True)


if __name__ == "__main__":
    main()
