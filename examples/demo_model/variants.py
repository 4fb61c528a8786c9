"""Trains and compares three ways to represent a video by 128 rows.

    python variants.py --start weights --output variants --pictures 40 --steps 150 --seed 1

    pooled     8 frames of 8x8 patches, averaged to 4x4 per frame, as in PLLaVA
    temporal   groups of four frames averaged: 2 times 8x8 patches, no spatial pooling
    direct     2 frames of 8x8 patches without pooling, concatenated

As in the paper, all start from one image model: the start is first trained for some steps on single frames of 64
patches. Then each variant trains on the same scenes and questions in the same order, with the loss of the answers
only. A start that was trained on pooled rows, such as the bundled weights, still favours "pooled".

The image model and each variant are written to the directory in the published layout, with variants.json and
variants.svg. The scores are those of evaluate.py, on clips that are not in the training, but in PyTorch on
rendered frames.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib

import torch

from answers import score
from clips import Clip, sample_clips
from evaluate import Scores, without_nan
from data import Mix
from export import read_directory, write_directory
from model import Config, Pllava
from plot import Bars, svg
from train import STAGES, Stage, Team, Trainer


@dataclasses.dataclass(frozen=True)
class Variant:
    """The number of frames, and the pooled grid (t, h, w)."""

    name: str
    frames: int
    pool: tuple[int, int, int]

    def config(self, c: Config) -> Config:
        return dataclasses.replace(c, frames=self.frames, pool=self.pool)


PICTURES = Variant("pictures", 1, (1, 8, 8))
VARIANTS = (
    Variant("pooled", 8, (8, 4, 4)),
    Variant("temporal", 8, (2, 8, 8)),
    Variant("direct", 2, (2, 8, 8)),
)
LEVELS = (1, 2, 3)  # of the clips, in training and evaluation


def read_start(path: pathlib.Path) -> Pllava:
    """Reads an exported directory or a state.pt of train.py."""
    if path.is_dir():
        return read_directory(path)
    model = Pllava()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return model


def varied(model: Pllava, variant: Variant) -> Pllava:
    """A copy of the model with the frames and pooling of the variant."""
    copy = Pllava(variant.config(model.config))
    copy.load_state_dict(model.state_dict())
    return copy


def stage_of(variant: Variant) -> Stage:
    """The stage "clips" of train.py with the frames of the variant and without auxiliary heads."""
    clips = next(stage for stage in STAGES if stage.name == "clips")
    levels = {0: 1.0} if variant == PICTURES else dict.fromkeys(LEVELS, 1.0)
    mix = Mix(levels, frames=variant.frames, benchmark=clips.mix.benchmark)
    return dataclasses.replace(clips, name=variant.name, mix=mix, facts=False)


def train(variant: Variant, start: Pllava, steps: int, options: argparse.Namespace) -> Trainer:
    """Trains the variant and writes it to its directory, with the log."""
    directory = options.output / variant.name
    directory.mkdir(parents=True, exist_ok=True)
    home = options.start if options.start.is_dir() else options.start.parent
    (directory / "tokenizer.json").write_bytes((home / "tokenizer.json").read_bytes())
    own = argparse.Namespace(**{**vars(options), "output": directory, "resume": None, "every": float("inf")})
    trainer = Trainer(own, Team(0, 1), varied(start, variant))
    trainer.run(stage_of(variant), float("inf"), steps)
    write_directory(directory, trainer.model, directory / "tokenizer.json")
    (directory / "state.pt").unlink(missing_ok=True)
    return trainer


def report(variant: Variant, steps: int, batch: int, scores: Scores) -> dict[str, object]:
    return {"frames": variant.frames, "pool": list(variant.pool), "steps": steps, "clips_seen": steps * batch,
            **scores.summary()}


def table(results: dict[str, Scores], steps: dict[str, int]) -> str:
    """A Markdown table."""
    lines = ["| variant | steps | multiple choice, % (guessing) | thing F1 | motion F1 | all events right, % |",
             "|---|---|---|---|---|---|"]
    for name, s in results.items():
        whole = s.overall()
        lines.append(f"| {name} | {steps[name]} | {whole.percent():.1f} ({whole.chance():.0f}) | "
                     f"{s.thing.f1():.3f} | {s.motion.f1():.3f} | {s.story.percent():.1f} |")
    return "\n".join(lines)


def chart(results: dict[str, Scores]) -> str:
    series = {name: [s.overall().percent(), 100 * s.thing.f1(), 100 * s.motion.f1(), s.story.percent()]
              for name, s in results.items()}
    groups = ["multiple choice", "thing F1", "motion F1", "all events right"]
    return svg([Bars("128 rows of a video, three ways", "%", groups, series)])


def compare(options: argparse.Namespace, clips: list[Clip]) -> tuple[dict[str, Scores], dict[str, int]]:
    """Trains and scores every variant. The results are written after each."""
    start = train(PICTURES, read_start(options.start), options.pictures, options).model
    figures: dict[str, object] = {"seed": options.seed, "pictures": options.pictures, "steps": options.steps,
                                  "clip_seed": options.clip_seed, "clips": len(clips)}
    results: dict[str, Scores] = {}
    steps: dict[str, int] = {}
    for variant in VARIANTS:
        trainer = train(variant, start, options.steps, options)
        results[variant.name] = score(trainer.model, trainer.prompts, clips)
        steps[variant.name] = trainer.steps
        batch = stage_of(variant).batch
        figures[variant.name] = report(variant, trainer.steps, batch, results[variant.name])
        text = json.dumps(without_nan(figures), indent=1, allow_nan=False)
        (options.output / "variants.json").write_text(text + "\n", encoding="utf-8")
    return results, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=pathlib.Path, required=True,
                        help="exported directory, or state.pt with tokenizer.json in the same directory")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="directory for the variants")
    parser.add_argument("--pictures", type=int, default=40, metavar="STEPS",
                        help="training steps of the image model (default 40)")
    parser.add_argument("--steps", type=int, default=150, metavar="N", help="training steps per variant (default 150)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default 1)")
    parser.add_argument("--clips", type=int, default=200, metavar="K", help="number of clips to score (default 200)")
    parser.add_argument("--clip-seed", type=int, default=70001, metavar="N", help="seed of these clips (default 70001)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--workers", type=int, default=max(len(os.sched_getaffinity(0)) - 1, 0),
                        help="rendering processes (default: cores - 1)")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cpu":
        torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    clips = list(sample_clips(options.clip_seed, options.clips, "train", LEVELS))
    results, steps = compare(options, clips)
    print(table(results, steps))
    (options.output / "variants.svg").write_text(chart(results), encoding="utf-8")


if __name__ == "__main__":
    main()
