"""Training batches: rendered clips, questions packed behind them, and the truth of every cell.

A packed row of a batch is one prefix (the video, or a text in its place) and several questions with their
answers. Each question sees the prefix and itself, and its positions start behind the prefix, so that it
reads as if it were asked alone.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

import language
import render
import world
from model import Config
from tokenizer import Prompts

CAPTION_PROMPT = "Describe the video in details."
ONLY_BEST = "\nOnly give the best option."
IGNORE = -100
PREFIX, PAD = 0, -1  # segments; questions count from 1

# What a cell of the pooled grid shows (LOOK) and what happened there (MOTION), and what happened so far.
LOOK_VALUES = ("x", "y", "offset x", "offset y", "radius")
MOTION_VALUES = ("step x", "step y", "way x", "way y", "growth")
EVENTS = (*world.ACTIONS, *world.DIRECTIONS, "cut", "shown", "hidden")


@dataclasses.dataclass(frozen=True)
class Mix:
    """What a stage of the training reads."""

    levels: dict[int, float]  # of world.sample_scene, and how often
    frames: int = 8
    questions: int = 6  # behind one prefix; 0: pictures only
    text: float = 0.0  # share of batches with a text in the place of the video
    silent: float = 0.0  # share of batches with a video and no question, for what its own rows teach
    benchmark: float = 0.1  # share of batches in the wording of MVBench


@dataclasses.dataclass
class Row:
    """One prefix and its questions as ids. The video stands where ids are the image token."""

    ids: list[int]
    labels: list[int]
    segments: list[int]
    positions: list[int]
    tasks: list[str]

    def add(self, segment: int, start: int, prompt: list[int], answer: list[int]) -> None:
        ids = prompt + answer
        self.ids += ids
        self.labels += [*[IGNORE] * len(prompt), *answer]
        self.segments += [segment] * len(ids)
        self.positions += range(start, start + len(ids))


# ---- the truth of every cell


def cell_truth(scene: world.Scene, times: list[float], side: int) -> dict[str, np.ndarray]:
    """What each cell of a side x side grid holds at each time; IGNORE where it holds no thing's centre."""
    shape = (len(times), side * side)
    kind, colour, first_colour = (np.full(shape, IGNORE) for _ in range(3))
    look = np.zeros((*shape, len(LOOK_VALUES)), np.float32)
    motion = np.zeros((*shape, len(MOTION_VALUES)), np.float32)
    shown = np.zeros(len(times), bool)
    hidden = np.zeros(len(times), bool)
    for index, thing in enumerate(scene.things):
        course = world.track(scene, index, times)
        x, y = course.x, course.y
        column, row = (np.clip(((v + 1) / 2 * side).astype(int), 0, side - 1) for v in (x, y))
        t = np.flatnonzero(course.opacity > 0.5)
        cell = row[t] * side + column[t]
        kind[t, cell] = world.KINDS.index(thing.kind)
        colour[t, cell] = course.mix[t].argmax(1)
        first_colour[t, cell] = world.COLOURS.index(thing.colour)
        offsets = [(v + 1) / 2 * side - at - 0.5 for v, at in ((x, column), (y, row))]
        look[t, cell] = np.stack([x, y, *offsets, course.radius * 4], 1)[t]
        steps = [np.diff(v, prepend=v[0]) for v in (x, y)]
        motion[t, cell] = np.stack([*(4 * s for s in steps), x - x[0], y - y[0],
                                    (course.radius - course.radius[0]) * 4], 1)[t]
        shown |= np.append(False, (course.opacity[1:] > 0.5) & (course.opacity[:-1] <= 0.5))
        hidden |= course.opacity <= 0.5
    events = np.zeros((len(times), len(EVENTS)), np.float32)
    at = np.asarray(times)
    for event in scene.events:
        over = at >= (event.start + event.end) / 2
        events[over, EVENTS.index(event.action)] = 1
        if event.direction:
            events[over, EVENTS.index(event.direction)] = 1
    if scene.cut:
        events[at >= scene.cut[0], EVENTS.index("cut")] = 1
    events[shown, EVENTS.index("shown")] = 1
    events[hidden, EVENTS.index("hidden")] = 1
    background = [world.BACKGROUNDS.index(scene.cut[1] if scene.cut and s >= scene.cut[0] else scene.background)
                  for s in times]
    return {"kind": kind, "colour": colour, "first_colour": first_colour, "look": look, "motion": motion,
            "events": events, "background": np.array(background)}


# ---- rows of text


class Packer:
    """Packs questions and answers about a scene into rows of ids."""

    def __init__(self, prompts: Prompts, config: Config) -> None:
        self.prompts, self.config = prompts, config

    def row(self, scene: world.Scene, count: int, benchmark: bool, video_rows: int,
            rng: np.random.Generator) -> Row:
        """video_rows: how many rows the video takes; 0 puts a text in its place."""
        pairs = self._pairs(scene, count, benchmark, rng) if count else []
        before = self.prompts.before_benchmark if benchmark else self.prompts.before
        row = Row([], [], [], [], [])
        if video_rows:
            row.add(PREFIX, 0, before + [self.config.image_token] * video_rows, [])
        else:
            text = language.caption(scene, rng)
            if rng.random() < 0.5:  # the drill: what is asked stands there
                qas = language.questions(scene, rng, 2 * count // 3, multiple_choice=1)
                text = " ".join(f"{qa.question} {language.opened(qa).answer}" for qa in qas)
                pairs = [self._choice(qa, benchmark) for qa in qas]
            row.add(PREFIX, 0, before, self.prompts.answer(text)[:-1])
        start = len(row.ids)
        for number, (task, prompt, answer) in enumerate(pairs, 1):
            row.tasks.append(task)
            row.add(number, start, prompt, answer)
        return row

    def _pairs(self, scene: world.Scene, count: int, benchmark: bool,
               rng: np.random.Generator) -> list[tuple[str, list[int], list[int]]]:
        """(task, prompt, answer): a caption first, then open questions and choices."""
        if benchmark:  # they are longer, hence fewer
            qas = language.questions(scene, rng, 2 * count // 3, multiple_choice=1)
            return [self._choice(qa, True) for qa in qas]
        qas = language.questions(scene, rng, count - 1, multiple_choice=0.5)
        caption = self.prompts.answer(language.caption(scene, rng))
        pairs = [("caption", self.prompts.question(CAPTION_PROMPT), caption)]
        for qa in qas:
            if qa.candidates:
                pairs.append(self._choice(qa, False))
            else:
                pairs.append((qa.task, self.prompts.question(qa.question), self.prompts.answer(qa.answer)))
        return pairs

    def _choice(self, qa: language.QA, benchmark: bool) -> tuple[str, list[int], list[int]]:
        question, answer = language.best_option_text(qa)
        if benchmark:
            return (f"choice {qa.task}", self.prompts.benchmark_question(question),
                    self.prompts.answer(answer.removeprefix("("), opened=True))
        return f"choice {qa.task}", self.prompts.question(question + ONLY_BEST), self.prompts.answer(answer)


# ---- batches


class Clips(IterableDataset):
    """An endless stream of batches as dictionaries of tensors (and the tasks' names)."""

    def __init__(self, config: Config, prompts: Prompts, mix: Mix, batch: int, seed: int,
                 split: str = "train") -> None:
        self.config, self.prompts, self.mix, self.batch = config, prompts, mix, batch
        self.seed, self.split = seed, split

    def __iter__(self) -> Iterator[dict]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        for number in itertools.count():
            yield self.make(number, rng)

    def make(self, number: int, rng: np.random.Generator) -> dict:
        """One batch. What its rows have in common follows from its number, the same in every process, so
        that they keep step."""
        mix, config = self.mix, self.config
        turn = number * 0.6180339887 % 1
        with_text, silent = turn < mix.text, mix.text <= turn < mix.text + mix.silent
        benchmark = not silent and number * 0.7548776662 % 1 < mix.benchmark
        often = dict.fromkeys(world.LEVELS, 1.0) if with_text and mix.text < 1 else mix.levels
        levels, weights = list(often), np.array(list(often.values()))
        video_rows = 0 if with_text else config.rows * mix.frames // config.frames
        packer = Packer(self.prompts, config)
        rows, frames, truth = [], [], []
        for _ in range(self.batch):
            scene = world.sample_scene(rng, int(rng.choice(levels, p=weights / weights.sum())), self.split)
            times = render.sample_times(scene, config.frames)
            if mix.frames < config.frames:
                times = sorted(rng.choice(times, mix.frames, replace=False).tolist())
            if not with_text:
                frames.append(render.render(scene, times, (config.image, config.image)))
                truth.append(cell_truth(scene, times, config.pool[1]))
            if mix.questions:
                rows.append(packer.row(scene, 0 if silent else mix.questions, benchmark, video_rows, rng))
        batch: dict = pack(rows) if rows else {}
        if frames:
            batch["frames"] = torch.from_numpy(np.stack(frames))
            for name in truth[0]:
                batch[name] = torch.from_numpy(np.stack([t[name] for t in truth]))
        return batch


def pack(rows: list[Row]) -> dict:
    """Pads the rows to one length, a multiple of 16."""
    length = -(-max(len(row.ids) for row in rows) // 16) * 16

    def padded(name: str, value: int) -> Tensor:
        return torch.tensor([[*getattr(row, name), *[value] * (length - len(row.ids))] for row in rows])

    return {"ids": padded("ids", 0), "labels": padded("labels", IGNORE), "segments": padded("segments", PAD),
            "positions": padded("positions", 0), "tasks": [row.tasks for row in rows]}


def block_mask(segments: Tensor) -> Tensor:
    """(B, N) segments: (B, 1, N, N), True where a row may look: back, at the prefix and its own segment."""
    n = segments.shape[1]
    back = torch.ones(n, n, dtype=torch.bool, device=segments.device).tril()
    own = segments[:, None, :] == segments[:, :, None]
    return (back & (own | (segments == PREFIX)[:, None, :]))[:, None]


def augmented(frames: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 clips (B, T, S, S, 3) as a codec and a scaler may hand them on, in f32 from 0 to 255."""
    b = len(frames)

    def random(low: float, high: float) -> Tensor:
        values = torch.rand(b, 1, 1, 1, 1, generator=generator) * (high - low) + low
        return values.to(frames.device)

    x = frames.float()
    blur = random(-0.2, 0.2).clamp(min=0)
    for axis in (2, 3):
        x = x + blur * (x.roll(1, axis) + x.roll(-1, axis) - 2 * x)
    grey = x.mean(-1, keepdim=True)
    colour = (x - grey).unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5), keepdim=True)
    colour = colour.expand(-1, -1, -1, 2, -1, 2, -1).flatten(4, 5).flatten(2, 3)
    sharp = random(0, 1)
    x = grey + random(0.9, 1.1) * (sharp * (x - grey) + (1 - sharp) * colour)  # colours at half the resolution
    noise = torch.randn(x.shape[:-1], generator=generator).to(frames.device)[..., None]
    x = (x - 128) * random(0.92, 1.08) + 128 + random(-8, 8) + noise * random(-2, 4).clamp(min=0)
    return x.clamp(0, 255)
