"""Scores a model on clips that are not in its training, with the program pllava.

    python examples/demo_model/evaluate.py --seed 90001 --clips 500 --pllava build/pllava

renders the clips (clips.py) to a temporary directory, lets the program caption them and answer their
multiple-choice questions as in MVBench, and scores both against the ground truth:

    multiple choice   accuracy in %, per task and over all questions; chance level in brackets
    captions          F1 of the kinds, the colours, the things (kind and colour together) and the
                      motions (each with its thing), and the share of clips with several events whose
                      captions have all events in the right order
    held out          the same on clips with a combination of colour, kind and direction that is not
                      in training
    reversed          clips of one thing in reverse: the share of captions with the reversed motion

Needs numpy, and ffmpeg on the PATH.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from clips import Clip, sample_clips, write_clips
from language import (
    best_option_text, parse_caption, parse_story, told_events, true_story, truth,
)
from world import reversed_scene

BATCH = 50  # videos per call of the program


# ---------------------------------------------------------------- running the program


@dataclass(frozen=True)
class Program:
    """The program pllava and the options of every call."""

    path: str
    options: tuple[str, ...]

    def call(self, verb: str, arguments: Sequence[str]) -> str:
        """The output of the program."""
        command = [self.path, verb, *arguments, *self.options, "--quiet"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.path} {verb} failed with exit code {done.returncode}")
        return done.stdout

    def objects(self, verb: str, arguments: Sequence[str]) -> list[dict]:
        """The JSON objects of the output, one per line."""
        return [json.loads(line) for line in self.call(verb, [*arguments, "--json"]).splitlines()]

    def described(self, videos: Sequence[pathlib.Path]) -> list[dict]:
        """The JSON object of each caption."""
        found: dict[str, dict] = {}
        for first in range(0, len(videos), BATCH):
            names = [str(video) for video in videos[first : first + BATCH]]
            for answer in self.objects("caption", names):
                found[answer["video"]] = answer
        return [found[str(video)] for video in videos]

    def captions(self, videos: Sequence[pathlib.Path]) -> list[str]:
        return [answer["text"] for answer in self.described(videos)]

    def answers(self, video: pathlib.Path, questions: Sequence[str]) -> list[str]:
        """The answer to each question, asked with MVBench's prompt."""
        if not questions:
            return []
        answers = self.objects("ask", [str(video), *questions, "--task", "mvbench"])
        return [answer["text"] for answer in answers]


# ---------------------------------------------------------------- scores


def is_right(predicted: str, expected: str) -> bool:
    """MVBench's comparison: only the option's letter counts."""
    letter = predicted.lower().split(" ")[0]
    option = expected.lower().split(" ")[0]
    if not any(char in letter for char in "abcdefg"):
        return False
    return letter.replace(".", "") in option or option in letter


@dataclass
class Tally:
    """Right answers, all answers, and the expected number of right guesses."""

    right: int = 0
    total: int = 0
    guessed: float = 0.0

    def add(self, right: bool, chance: float = 0.0) -> None:
        self.right += right
        self.total += 1
        self.guessed += chance

    def percent(self) -> float:
        return 100 * self.right / self.total if self.total else float("nan")

    def chance(self) -> float:
        return 100 * self.guessed / self.total if self.total else float("nan")


@dataclass
class Overlap:
    """F1 of predicted items against true items, summed over clips."""

    both: int = 0
    said: int = 0
    true: int = 0

    def add(self, said: Iterable[Hashable], true: Iterable[Hashable]) -> None:
        one, two = Counter(said), Counter(true)
        self.both += (one & two).total()
        self.said += one.total()
        self.true += two.total()

    def f1(self) -> float:
        return 2 * self.both / (self.said + self.true) if self.said + self.true else float("nan")


@dataclass
class Scores:
    """All scores of one set of clips."""

    tasks: dict[str, Tally] = field(default_factory=dict)
    kind: Overlap = field(default_factory=Overlap)
    colour: Overlap = field(default_factory=Overlap)
    thing: Overlap = field(default_factory=Overlap)
    motion: Overlap = field(default_factory=Overlap)
    order: Tally = field(default_factory=Tally)
    story: Tally = field(default_factory=Tally)
    levels: dict[int, Tally] = field(default_factory=dict)  # the story by level

    def add_caption(self, clip: Clip, text: str) -> None:
        said, true = parse_caption(text), truth(clip.scene)
        self.kind.add((m.kind for m in said), (m.kind for m in true))
        self.colour.add((m.colour for m in said), (m.colour for m in true))
        self.thing.add((m[:2] for m in said), (m[:2] for m in true))
        self.motion.add(parse_story(text), true_story(clip.scene))
        right = tells_story(clip, text)
        self.story.add(right)
        self.levels.setdefault(clip.level, Tally()).add(right)
        if len(clip.scene.events) > 1:
            self.order.add(right)

    def add_answer(self, task: str, right: bool, chance: float) -> None:
        self.tasks.setdefault(task, Tally()).add(right, chance)

    def overall(self) -> Tally:
        tallies = self.tasks.values()
        return Tally(sum(t.right for t in tallies), sum(t.total for t in tallies),
                     sum(t.guessed for t in tallies))

    def summary(self) -> dict[str, object]:
        return {
            "multiple_choice": {
                "overall": self.overall().percent(),
                "chance": self.overall().chance(),
                "tasks": {task: {"accuracy": tally.percent(), "chance": tally.chance(),
                                 "questions": tally.total}
                          for task, tally in sorted(self.tasks.items())},
            },
            "caption": {
                "kind_f1": self.kind.f1(), "colour_f1": self.colour.f1(),
                "thing_f1": self.thing.f1(), "motion_f1": self.motion.f1(),
                "order": self.order.percent(), "order_clips": self.order.total,
                "story": self.story.percent(), "clips": self.story.total,
                "story_by_level": {level: tally.percent()
                                   for level, tally in sorted(self.levels.items())},
            },
        }


def tells_story(clip: Clip, text: str) -> bool:
    """Whether a caption has exactly the true events, in order.

    Events with the same start may be in any order.
    """
    said, true = parse_story(text), true_story(clip.scene)
    if len(said) != len(true):
        return False
    place = 0
    for _, group in groupby(told_events(clip.scene), lambda event: event.start):
        end = place + len(list(group))
        if Counter(said[place:end]) != Counter(true[place:end]):
            return False
        place = end
    return True


# ---------------------------------------------------------------- sets of clips


def score_clips(program: Program, clips: list[Clip], folder: pathlib.Path,
                log: list[dict]) -> Scores:
    """Scores captions and multiple choice of clips that write_clips() wrote to `folder`."""
    videos = [folder / "video" / clip.video for clip in clips]
    scores = Scores()
    for clip, text in zip(clips, program.captions(videos)):
        scores.add_caption(clip, text)
        log.append({"set": folder.name, "video": clip.video, "level": clip.level, "caption": text,
                    "true_caption": clip.caption, "answers": []})
    for clip, video, entry in zip(clips, videos, log[-len(clips):]):
        prompts = [best_option_text(qa) for qa in clip.questions]
        answers = program.answers(video, [question for question, _ in prompts])
        for qa, (_, expected), answer in zip(clip.questions, prompts, answers):
            right = is_right(answer, expected)
            scores.add_answer(qa.task, right, 1 / len(qa.candidates or (1,)))
            entry["answers"].append({"task": qa.task, "question": qa.question,
                                     "expected": expected, "answer": answer, "right": right})
        _progress(folder.name, clip.video)
    return scores


def score_reversed(program: Program, seed: int, count: int, folder: pathlib.Path) -> Tally:
    """Scores captions of reversed clips of one thing, without clips whose story is the same in reverse."""
    drawn = sample_clips(seed, 4 * count, "train", (1, 2), backwards=True)
    clips = [clip for clip in drawn
             if true_story(clip.scene) != true_story(reversed_scene(clip.scene))][:count]
    write_clips(folder, clips)
    tally = Tally()
    for clip, text in zip(clips, program.captions([folder / "video" / c.video for c in clips])):
        said = [motion for *_, motion in parse_story(text)]
        tally.add(said == [motion for *_, motion in true_story(clip.scene)])
    return tally


def without_nan(value: object) -> object:
    """Replaces NaN by None: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if value != value else value


def _progress(name: str, video: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{name} {video}  ", end="", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- the report


def table(fresh: Scores, held_out: Scores, backwards: Tally) -> str:
    """The scores as text, of fresh and held-out clips in columns."""
    lines = [f"{'multiple choice, %':24}{'fresh':>8}{'(chance)':>10}{'held out':>10}{'asked':>8}"]
    for task, tally in sorted(fresh.tasks.items()):
        other = held_out.tasks.get(task, Tally())
        lines.append(f"{task:24}{tally.percent():8.1f}{f'({tally.chance():.0f})':>10}"
                     f"{other.percent():10.1f}{tally.total:8}")
    whole = fresh.overall()
    lines.append(f"{'all':24}{whole.percent():8.1f}{f'({whole.chance():.0f})':>10}"
                 f"{held_out.overall().percent():10.1f}{whole.total:8}")
    lines.append(f"\n{'captions':24}{'fresh':>8}{'':10}{'held out':>10}")
    for name in ("kind", "colour", "thing", "motion"):
        one, two = getattr(fresh, name), getattr(held_out, name)
        lines.append(f"{name + ' F1':24}{one.f1():8.3f}{'':10}{two.f1():10.3f}")
    for title, name in (("events in order, %", "order"), ("all events right, %", "story")):
        one, two = getattr(fresh, name), getattr(held_out, name)
        lines.append(f"{title:24}{one.percent():8.1f}{'':10}{two.percent():10.1f}{one.total:8}")
    for level, one in sorted(fresh.levels.items()):
        two = held_out.levels.get(level, Tally())
        lines.append(f"{f'  on level {level}':24}{one.percent():8.1f}{'':10}{two.percent():10.1f}"
                     f"{one.total:8}")
    lines.append(f"{'reversed, %':24}{backwards.percent():8.1f}{'':20}{backwards.total:8}")
    return "\n".join(lines)


def evaluate(program: Program, seed: int, count: int, folder: pathlib.Path,
             levels: tuple[int, ...]) -> tuple[str, dict[str, object]]:
    """Scores `count` fresh clips, half as many held-out and up to 100 reversed ones."""
    log: list[dict] = []
    fresh = list(sample_clips(seed, count, "train", levels))
    write_clips(folder / "fresh", fresh)
    fresh_scores = score_clips(program, fresh, folder / "fresh", log)
    unseen = list(sample_clips(seed + 1, max(count // 2, 1), "held_out",
                               tuple(level for level in levels if level > 0)))
    write_clips(folder / "held_out", unseen)
    unseen_scores = score_clips(program, unseen, folder / "held_out", log)
    backwards = score_reversed(program, seed + 2, min(100, max(count // 5, 1)),
                               folder / "reversed")
    figures = {
        "seed": seed,
        "clips": count,
        "fresh": fresh_scores.summary(),
        "held_out": unseen_scores.summary(),
        "reversed": {"right": backwards.percent(), "clips": backwards.total},
        "log": log,
    }
    return table(fresh_scores, unseen_scores, backwards), figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pllava", required=True, metavar="PATH", help="path of the program")
    parser.add_argument("--model", metavar="DIR",
                        default=str(pathlib.Path(__file__).parent / "weights"),
                        help="checkpoint directory (default: weights, next to this file)")
    parser.add_argument("--seed", type=int, default=90001, metavar="N",
                        help="seed of the clips, which are never those of training (default 90001)")
    parser.add_argument("--clips", type=int, default=500, metavar="K",
                        help="number of fresh clips; plus half as many held-out clips (default 500)")
    parser.add_argument("--level", type=int, nargs="+", default=[1, 2, 3, 4],
                        choices=(0, 1, 2, 3, 4), help="levels to cycle through (default 1 2 3 4)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="file for all scores, captions and answers")
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIR",
                        help="keep the rendered clips in this directory")
    parser.add_argument("--options", default="", metavar="TEXT",
                        help='further options of every call, for example "--lora-alpha 32"')
    options = parser.parse_args()
    program = Program(options.pllava, ("--model", options.model, *options.options.split()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or pathlib.Path(temporary)
        text, figures = evaluate(program, options.seed, options.clips, folder,
                                 tuple(options.level))
    print(text)
    if options.json:
        text = json.dumps(without_nan(figures), indent=1, allow_nan=False)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
