"""Compares the greedy answers of the PyTorch model with those of the pllava program, token for token.

    python parity.py --model weights --pllava ../../build/pllava --seed 4242 --clips 50

renders clips and lets the program caption each and answer two questions about it (one in MVBench's format,
one open). The PyTorch model answers the same prompts from the pixels of the program, all in f32, so the
comparison covers the networks and the prompts, not the video decoder. Every difference is printed with both
texts and the margin: the difference of PyTorch's two largest logits at the first different id. A small
margin is a near tie, which rounding errors may decide. The exit code is 0 if all answers are equal, else 1.

Needs ffmpeg on the PATH.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import torch
from safetensors.torch import load_file
from torch import Tensor

from answers import LIMIT, greedy
from clips import Clip, sample_clips, write_clips
from data import CAPTION_PROMPT
from evaluate import Program
from export import read_directory
from language import best_option_text, opened
from model import Pllava
from tokenizer import Prompts


@dataclasses.dataclass(frozen=True)
class Case:
    """One prompt about one clip, and both answers."""

    video: str
    kind: str  # caption, choice or open
    prompt: str
    program: str
    torch: str
    same_prompt: bool
    parted: int | None  # position of the first different id
    margin: float | None  # of PyTorch's logits at that position

    @property
    def equal(self) -> bool:
        return self.same_prompt and self.parted is None

    def __str__(self) -> str:
        why = "" if self.same_prompt else "different prompt ids; "
        where = "answers equal" if self.parted is None else f"token {self.parted}, margin {self.margin:.2g}"
        return f"{self.video} {self.kind}: {why}{where}\n    pllava: {self.program}\n    torch:  {self.torch}"


def parting(one: list[int], two: list[int]) -> int | None:
    """The first position that differs; None if they are equal."""
    if one == two:
        return None
    return next((i for i, (a, b) in enumerate(zip(one, two)) if a != b), min(len(one), len(two)))


class Comparison:
    """Runs the program and the model with the same prompts."""

    def __init__(self, program: Program, model: Pllava, prompts: Prompts) -> None:
        self.program, self.model, self.prompts = program, model, prompts

    def cases(self, clips: list[Clip], folder: pathlib.Path) -> Iterator[Case]:
        """For each clip a caption and, if it has questions, a multiple-choice and an open question."""
        prompts = self.prompts
        videos = [folder / "video" / clip.video for clip in clips]
        for number, (clip, video, caption) in enumerate(zip(clips, videos, self.program.described(videos))):
            rows = self.rows(video, folder / "trace.safetensors")
            yield self.case(clip, "caption", caption, rows, prompts.before, prompts.question(CAPTION_PROMPT))
            if not clip.questions:
                continue
            choice = best_option_text(clip.questions[number % len(clip.questions)])[0]
            said, = self.program.objects("ask", [str(video), choice, "--task", "mvbench"])
            yield self.case(clip, "choice", said, rows, prompts.before_benchmark,
                            prompts.benchmark_question(choice))
            question = opened(clip.questions[(number + 1) % len(clip.questions)]).question
            said, = self.program.objects("ask", [str(video), question])
            yield self.case(clip, "open", said, rows, prompts.before, prompts.question(question))

    @torch.no_grad()
    def rows(self, video: pathlib.Path, file: pathlib.Path) -> Tensor:
        """The model's rows of a video (1, rows, H), from the pixels of the program."""
        self.program.call("trace", [str(video), "--out", str(file)])
        return self.model.pooled(self.model.features(load_file(file)["pixel_values"][None]))

    def case(self, clip: Clip, kind: str, said: dict, rows: Tensor, before: list[int],
             after: list[int]) -> Case:
        answer, = greedy(self.model, rows, before, after, LIMIT)
        parted = parting(said["output_ids"], answer.ids)
        margin = None
        if parted is not None:  # at the last id, if PyTorch ends earlier
            margin = answer.margins[min(parted, len(answer.margins) - 1)]
        return Case(clip.video, kind, said["prompt"], said["text"], self.prompts.text(answer.ids),
                    said["prompt_ids"] == [*before, self.prompts.image_token, *after], parted, margin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pllava", required=True, metavar="PATH", help="path of the program")
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path(__file__).parent / "weights",
                        metavar="DIR", help="checkpoint directory (default: weights, next to this file)")
    parser.add_argument("--seed", type=int, default=4242, metavar="N", help="seed of the clips (default 4242)")
    parser.add_argument("--clips", type=int, default=50, metavar="K", help="number of clips (default 50)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of either (default 1)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="file for all answers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    program = Program(options.pllava, ("--model", str(options.model), "--dtype", "f32",
                                       "--threads", str(options.threads)))
    model = read_directory(options.model).eval()
    comparison = Comparison(program, model, Prompts(options.model / "tokenizer.json"))
    clips = list(sample_clips(options.seed, options.clips, "any", (1, 2, 3, 4)))
    cases = []
    with tempfile.TemporaryDirectory() as name:
        write_clips(pathlib.Path(name), clips)
        for case in comparison.cases(clips, pathlib.Path(name)):
            cases.append(case)
            if not case.equal:
                print(case, flush=True)
    captions, answers = ([case.equal for case in cases if (case.kind == "caption") == wanted]
                         for wanted in (True, False))
    print(f"equal: {sum(captions)} of {len(captions)} captions, {sum(answers)} of {len(answers)} answers")
    if options.json:
        rows = [dataclasses.asdict(case) | {"equal": case.equal} for case in cases]
        options.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(0 if all(case.equal for case in cases) else 1)


if __name__ == "__main__":
    main()
