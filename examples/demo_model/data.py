"""Training batches: rendered clips with packed questions, and the ground truth of every cell.

A packed row of a batch is a prefix (the video, or a text instead) and several questions with their answers.
Each question attends to the prefix and to itself, and its positions start after the prefix, as if it were
the only question.
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
LETTERS = "ABCDE"
IGNORE = -100
SILENT_ROWS = 3  # rows of a batch without questions per row of others: they are short
PREFIX, PAD = 0, -1  # segments; questions count from 1

# Targets of the auxiliary heads: the appearance of a cell of the pooled grid (LOOK), the motion of its thing so
# far (MOTION), the actions of its thing so far (DEEDS), and the events of all things so far (EVENTS).
LOOK_VALUES = ("x", "y", "offset x", "offset y", "radius", "striped")
MOTION_VALUES = ("step x", "step y", "way x", "way y", "growth")
DEEDS = (*world.ACTIONS, *world.DIRECTIONS, "blinked once", "blinked twice", "blinked three times",
         "first event", "second event", "third event")
EVENTS = (*world.ACTIONS, *world.DIRECTIONS, "cut", "shown", "hidden", "two things", "three things",
          "one mover", "two movers", "three movers")

# An event as classes: action, direction, new colour and count (ACT; the last class of each is none), and both things.
# LATEST is the latest event of the thing in a cell, with its index in the story; STORY is the story of all things.
ACT = (len(world.ACTIONS) + 1, len(world.DIRECTIONS) + 1, len(world.COLOURS) + 1, 4)
LATEST = (4, *ACT)
STORY = (*ACT, len(world.KINDS), len(world.COLOURS), len(world.KINDS) + 1, len(world.COLOURS) + 1)
STORY_EVENTS = 3
MISREAD = 0.15  # share of misread names of things, see Packer.misread

# Weights of the tasks: higher for those that are learned slowly. One row in DRILLED asks only about existence.
OFTEN = {"Object Existence": 2.0, "Character Order": 4.0, "Object Interaction": 10.0, "Scene Transition": 5.0,
         "Action Sequence": 2.0, "Action Count": 3.0}
DRILLED = 8


@dataclasses.dataclass(frozen=True)
class Mix:
    """The data of a training stage."""

    levels: dict[int, float]  # levels of world.sample_scene, with weights
    frames: int = 8
    questions: int = 6  # per prefix; 0: images only
    captions: int = 1  # of the questions, each with a different phrasing; none in MVBench's template
    text: float = 0.0  # share of batches with a text instead of a video
    silent: float = 0.0  # share of batches with a video and no question, for the auxiliary heads
    benchmark: float = 0.1  # share of batches in MVBench's template
    several: dict[int, float] = dataclasses.field(default_factory=dict)
    # {events: share}, of the scenes of level 4: resampled until they have at least this number of events


@dataclasses.dataclass(frozen=True)
class Choice:
    """Auxiliary targets of a multiple-choice question: the option that a token belongs to, and, at the position of the
    letter, the words that distinguish the right option from the others."""

    letters: list[int]  # ids of A, B, C, ...
    close: int  # id of )
    newline: int
    gist: list[int]

    def options(self, ids: list[int]) -> list[int]:
        """The index of the option of each token after its parenthesis, else IGNORE."""
        numbers, current = [], IGNORE
        for i, token in enumerate(ids):
            if token == self.newline:
                current = IGNORE
            numbers.append(current)
            if token == self.close and i > 0 and ids[i - 1] in self.letters:
                current = self.letters.index(ids[i - 1])
        return numbers


def option_ends(options: list[int], right: int) -> list[int]:
    """At the last token of each option, 1 if it is right, else 0; IGNORE elsewhere."""
    return [int(this == right) if this not in (IGNORE, after) else IGNORE
            for this, after in zip(options, [*options[1:], IGNORE])]


@dataclasses.dataclass
class Row:
    """A prefix and its questions as ids. The ids of the video are image tokens."""

    ids: list[int] = dataclasses.field(default_factory=list)
    labels: list[int] = dataclasses.field(default_factory=list)
    segments: list[int] = dataclasses.field(default_factory=list)
    positions: list[int] = dataclasses.field(default_factory=list)
    tasks: list[str] = dataclasses.field(default_factory=list)
    options: list[int] = dataclasses.field(default_factory=list)  # index of the option of a token
    ends: list[int] = dataclasses.field(default_factory=list)  # at the end of an option: whether it is right
    exists: list[int] = dataclasses.field(default_factory=list)  # after "red circle": whether there is one
    gists: list[tuple[int, list[int]]] = dataclasses.field(default_factory=list)  # see Choice
    prefix: int = 0

    def add(self, segment: int, start: int, prompt: list[int], answer: list[int], choice: Choice | None = None,
            exists: list[int] | None = None, read: list[int] | None = None) -> None:
        """read: input ids instead of those of the answer; the labels remain the answer."""
        ids = prompt + (read or answer)
        if segment == PREFIX:
            self.prefix = len(ids)
        if choice:
            letter = next(i for i, token in enumerate(answer) if token in choice.letters)
            self.gists.append((len(self.ids) + len(prompt) + letter - 1, choice.gist))
            options = choice.options(prompt)
            self.ends += option_ends(options, choice.letters.index(answer[letter])) + [IGNORE] * len(answer)
            self.options += options + [IGNORE] * len(answer)
        else:
            self.ends += [IGNORE] * len(ids)
            self.options += [IGNORE] * len(ids)
        self.exists += (exists or []) + [IGNORE] * (len(ids) - len(exists or []))
        self.ids += ids
        self.labels += [*[IGNORE] * len(prompt), *answer]
        self.segments += [segment] * len(ids)
        self.positions += range(start, start + len(ids))


# ---- ground truth of every cell


def cell_truth(scene: world.Scene, times: list[float], side: int) -> dict[str, np.ndarray]:
    """The targets of each cell of a side x side grid at each time; IGNORE if no thing has its centre there."""
    shape = (len(times), side * side)
    kind, colour, first_colour, rank = (np.full(shape, IGNORE) for _ in range(4))
    look = np.zeros((*shape, len(LOOK_VALUES)), np.float32)
    motion = np.zeros((*shape, len(MOTION_VALUES)), np.float32)
    deeds = np.zeros((*shape, len(DEEDS)), np.float32)
    latest = np.full((*shape, len(LATEST)), IGNORE)
    events = np.zeros((len(times), len(EVENTS)), np.float32)
    seen_things = np.zeros(len(times), int)
    movers = np.zeros(len(times), int)
    told = language.told_events(scene)
    for place, index in enumerate(language.telling_order(scene)):
        thing, course = scene.things[index], world.track(scene, index, times)
        x, y, shown = course.x, course.y, course.opacity > 0.5
        column, row = (np.clip(((v + 1) / 2 * side).astype(int), 0, side - 1) for v in (x, y))
        t = np.flatnonzero(shown)
        cell = row[t] * side + column[t]
        kind[t, cell] = world.KINDS.index(thing.kind)
        colour[t, cell] = course.mix[t].argmax(1)
        first_colour[t, cell] = world.COLOURS.index(thing.colour)
        rank[t, cell] = place
        offsets = [(v + 1) / 2 * side - at - 0.5 for v, at in ((x, column), (y, row))]
        striped = np.full(len(times), thing.texture == "striped")
        look[t, cell] = np.stack([x, y, *offsets, course.radius * 4, striped], 1)[t]
        steps = [np.diff(v, prepend=v[0]) for v in (x, y)]
        motion[t, cell] = np.stack([*(4 * s for s in steps), x - x[0], y - y[0],
                                    (course.radius - course.radius[0]) * 4], 1)[t]
        seen = np.maximum.accumulate(shown)
        t = np.flatnonzero(seen)
        deeds[t, (row * side + column)[t]] = _deeds(scene, index, told, times)[t]
        latest[t, (row * side + column)[t]] = _latest(index, told, times)[t]
        rank[t, (row * side + column)[t]] = place
        seen_things += seen
        events[:, EVENTS.index("shown")] += np.append(False, shown[1:] & ~shown[:-1])
        events[:, EVENTS.index("hidden")] += ~shown
        movers += _has_moved(scene, index, times)
    at = np.asarray(times)
    for event in scene.events:
        over = at >= (event.start + event.end) / 2
        events[over, EVENTS.index(event.action)] = 1
        if event.direction:
            events[over, EVENTS.index(event.direction)] = 1
    if scene.cut:
        events[at >= scene.cut[0], EVENTS.index("cut")] = 1
    events[:, EVENTS.index("two things")] = seen_things >= 2
    events[:, EVENTS.index("three things")] = seen_things >= 3
    for count, name in enumerate(("one mover", "two movers", "three movers"), 1):
        events[:, EVENTS.index(name)] = movers >= count
    events = np.minimum(events, 1)
    for name in ("shown", "hidden"):
        column = EVENTS.index(name)
        events[:, column] = np.maximum.accumulate(events[:, column])
    background = [world.BACKGROUNDS.index(scene.cut[1] if scene.cut and s >= scene.cut[0] else scene.background)
                  for s in times]
    return {"kind": kind, "colour": colour, "first_colour": first_colour, "rank": rank, "look": look,
            "motion": motion, "deeds": deeds, "latest": latest, "story": _story(scene, told, times), "events": events,
            "background": np.array(background)}


def _deeds(scene: world.Scene, index: int, told: list[world.Event], times: list[float]) -> np.ndarray:
    """(T, DEEDS): 1 from the middle of each event that the thing is part of."""
    at = np.asarray(times)
    done = np.zeros((len(times), len(DEEDS)), np.float32)
    for number, event in enumerate(told):
        if index not in (event.thing, event.other):
            continue
        over = at >= (event.start + event.end) / 2
        if index == event.thing:
            done[over, DEEDS.index(("first event", "second event", "third event")[number])] = 1
        if index == event.thing or event.action == "collides":
            done[over, DEEDS.index(event.action)] = 1
            if event.direction:
                done[over, DEEDS.index(event.direction)] = 1
        if event.action == "blinks":
            span = (event.end - event.start) / (2 * event.count - 1)
            for count in range(event.count):
                name = ("blinked once", "blinked twice", "blinked three times")[count]
                done[at >= event.start + (2 * count + 0.5) * span, DEEDS.index(name)] = 1
    return done


def _act(event: world.Event | None) -> tuple[int, ...]:
    """An event as classes of ACT."""
    return tuple(names.index(value) if value else len(names) for names, value in (
        (world.ACTIONS, event and event.action), (world.DIRECTIONS, event and event.direction),
        (world.COLOURS, event and event.colour))) + (event.count if event and event.count else 0,)


def _latest(index: int, told: list[world.Event], times: list[float]) -> np.ndarray:
    """(T, LATEST): the latest event of the thing that is at least half over."""
    at = np.asarray(times)
    rows = np.tile((STORY_EVENTS, *_act(None)), (len(times), 1))
    for number, event in enumerate(told):
        if index == event.thing or (index == event.other and event.action == "collides"):
            rows[at >= (event.start + event.end) / 2] = (number, *_act(event))
    return rows


def _story(scene: world.Scene, told: list[world.Event], times: list[float]) -> np.ndarray:
    """(T, STORY_EVENTS, STORY): the events that are at least half over, in the order of captions."""
    at = np.asarray(times)
    rows = np.full((len(times), STORY_EVENTS, len(STORY)), IGNORE)
    rows[..., :len(ACT)] = _act(None)
    for number, event in enumerate(told):
        thing, other = scene.things[event.thing], None if event.other is None else scene.things[event.other]
        rows[at >= (event.start + event.end) / 2, number] = (
            *_act(event), world.KINDS.index(thing.kind), world.COLOURS.index(thing.colour),
            world.KINDS.index(other.kind) if other else len(world.KINDS),
            world.COLOURS.index(other.colour) if other else len(world.COLOURS))
    return rows


def _has_moved(scene: world.Scene, index: int, times: list[float]) -> np.ndarray:
    """(T,): whether the thing has completed half of a movement."""
    at = np.asarray(times)
    moved = np.zeros(len(times), bool)
    for event in scene.events:
        if event.direction and (index == event.thing or (index == event.other and event.action == "collides")):
            moved |= at >= (event.start + event.end) / 2
    return moved


# ---- rows of text

Pair = tuple[str, list[int], list[int], "Choice | None"]  # task, prompt, answer


class Packer:
    """Packs questions and answers about a scene into rows of ids."""

    def __init__(self, prompts: Prompts, config: Config) -> None:
        self.prompts, self.config = prompts, config
        token_id = prompts.tokenizer.token_to_id
        self.letters = [token_id(letter) for letter in LETTERS]
        self.close, self.newline = token_id(")"), token_id("<0x0A>")
        self.colours, self.kinds = ({self._words(word)[0]: word for word in words} for words in (
            world.COLOURS, world.KINDS))
        self.names = {token: list(words) for words in (self.colours, self.kinds) for token in words}

    def row(self, scene: world.Scene, count: int, benchmark: bool, video_rows: int, rng: np.random.Generator,
            captions: int = 1) -> Row:
        """video_rows: rows of the video; 0 uses a text instead."""
        pairs = self._pairs(scene, count, benchmark, rng, captions) if count else []
        before = self.prompts.before_benchmark if benchmark else self.prompts.before
        row = Row()
        if video_rows:
            row.add(PREFIX, 0, before + [self.config.image_token] * video_rows, [])
        else:
            text = language.caption(scene, rng)
            if rng.random() < 0.6:  # the text contains the answers
                qas = language.questions(scene, rng, 2 * count // 3, multiple_choice=1)
                if qas and rng.random() < 0.5:  # one question, with the options in different orders
                    text = language.opened(qas[0]).answer
                    qas = [shuffled(qas[0], rng) for _ in range(2 * count // 3)]
                else:
                    text = " ".join(f"{qa.question} {language.opened(qa).answer}" for qa in qas)
                pairs = [self._choice(qa, benchmark) for qa in qas]
            row.add(PREFIX, 0, before, self.prompts.answer(text)[:-1])
        start = len(row.ids)
        for number, (task, prompt, answer, choice) in enumerate(pairs, 1):
            row.tasks.append(task)
            seen = (self.exists(scene, prompt), self.misread(answer, rng)) if video_rows else (None, None)
            row.add(number, start, prompt, answer, choice, *seen)
        return row

    def exists(self, scene: world.Scene, ids: list[int]) -> list[int]:
        """After each colour and kind, 1 if there is such a thing, else 0; IGNORE elsewhere."""
        there = {(t.colour, t.kind) for t in (*scene.things, *world.final_things(scene))}
        found = [IGNORE] * len(ids)
        for i, (before, token) in enumerate(itertools.pairwise(ids), 1):
            if before in self.colours and token in self.kinds:
                found[i] = int((self.colours[before], self.kinds[token]) in there)
        return found

    def misread(self, answer: list[int], rng: np.random.Generator) -> list[int]:
        """Replaces some colours and kinds of an answer by random ones. The model must then read the motion from the
        video: it cannot predict it from the name of a thing, as it could in training, where some combinations of
        name and direction never occur."""
        return [int(rng.choice(self.names[token])) if token in self.names and rng.random() < MISREAD else token
                for token in answer]

    def _pairs(self, scene: world.Scene, count: int, benchmark: bool, rng: np.random.Generator,
               captions: int) -> list[Pair]:
        """Captions first, then open questions and choices."""
        if benchmark:  # longer questions, so fewer
            if rng.integers(DRILLED) == 0:
                qas = [language.ask(scene, rng, "Object Existence") for _ in range(2 * count // 3)]
            else:
                qas = language.questions(scene, rng, 2 * count // 3, multiple_choice=1, often=OFTEN)
            return [self._choice(qa, True) for qa in qas]
        qas = language.questions(scene, rng, count - captions, multiple_choice=0.5, often=OFTEN)
        prompt = self.prompts.question(CAPTION_PROMPT)
        pairs: list[Pair] = [("caption", prompt, self.prompts.answer(language.caption(scene, rng)), None)
                             for _ in range(captions)]
        for qa in qas:
            if qa.candidates:
                pairs.append(self._choice(qa, False))
            else:
                pairs.append((qa.task, self.prompts.question(qa.question), self.prompts.answer(qa.answer), None))
        return pairs

    def _choice(self, qa: language.QA, benchmark: bool) -> Pair:
        question, answer = language.best_option_text(qa)
        words = {text: set(self._words(text)) for text in qa.candidates}
        common = set.intersection(*words.values())
        choice = Choice(self.letters, self.close, self.newline, sorted(words[qa.answer] - common or words[qa.answer]))
        if benchmark:
            return (f"choice {qa.task}", self.prompts.benchmark_question(question),
                    self.prompts.answer(answer.removeprefix("("), opened=True), choice)
        return f"choice {qa.task}", self.prompts.question(question + ONLY_BEST), self.prompts.answer(answer), choice

    def _words(self, text: str) -> list[int]:
        return self.prompts.tokenizer.encode(text, add_special_tokens=False).ids


def shuffled(qa: language.QA, rng: np.random.Generator) -> language.QA:
    return dataclasses.replace(qa, candidates=tuple(rng.permutation(qa.candidates).tolist()))


def token_weights(prompts: Prompts, config: Config) -> Tensor:
    """(vocabulary): the loss weight of each token of an answer. Tokens that distinguish answers have the largest
    weights: first the letters of options, then the names of things and actions, then all others."""
    content = (*world.KINDS, *world.COLOURS, *world.SIZES, *world.BACKGROUNDS, "left", "right", "up", "down",
            *language.NUMBERS, *language.TIMES.values(), "never", "yes", "no", "moves", "goes", "turns", "appears",
            "disappears", "vanishes", "grows", "shrinks", "becomes", "changes", "spins", "rotates", "blinks",
            "hits", "behind", "passes", "pushes", "stands", "stays", "nothing", "top", "bottom", "and", "comes",
            "back", "it", "then", "after", "while", "at")
    weights = torch.full((config.vocab,), 0.5)
    for word in content:
        weights[prompts.tokenizer.encode(word, add_special_tokens=False).ids[:1]] = 2.0
    for letter in LETTERS:
        weights[prompts.tokenizer.token_to_id(letter)] = 6.0
    return weights


# ---- batches


class Clips(IterableDataset):
    """An endless stream of batches: dictionaries of tensors, and the names of the tasks."""

    def __init__(self, config: Config, prompts: Prompts, mix: Mix, batch: int, seed: int,
                 split: str = "train") -> None:
        self.config, self.prompts, self.mix, self.batch = config, prompts, mix, batch
        self.seed, self.split = seed, split
        self.weights = token_weights(prompts, config)

    def __iter__(self) -> Iterator[dict]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        for number in itertools.count():
            yield self.make(number, rng)

    def make(self, number: int, rng: np.random.Generator) -> dict:
        """One batch. Its kind depends only on its number, so that it is the same in every process, and the processes
        take equally long."""
        mix, config = self.mix, self.config
        turn = number * 0.6180339887 % 1
        with_text, silent = turn < mix.text, mix.text <= turn < mix.text + mix.silent
        benchmark = not silent and number * 0.7548776662 % 1 < mix.benchmark
        often = dict.fromkeys(world.LEVELS, 1.0) if with_text and mix.text < 1 else mix.levels
        levels, weights = list(often), np.array(list(often.values()))
        video_rows = 0 if with_text else config.rows * mix.frames // config.frames
        packer = Packer(self.prompts, config)
        rows, frames, truth = [], [], []
        for _ in range(self.batch * (SILENT_ROWS if silent else 1)):
            scene = self._scene(int(rng.choice(levels, p=weights / weights.sum())), rng)
            times = render.sample_times(scene, config.frames)
            if mix.frames < config.frames:
                times = sorted(rng.choice(times, mix.frames, replace=False).tolist())
            if not with_text:
                frames.append(render.render(scene, times, (config.image, config.image)))
                truth.append(cell_truth(scene, times, config.pool[1]))
            if mix.questions:
                rows.append(packer.row(scene, 0 if silent else mix.questions, benchmark, video_rows, rng,
                                       mix.captions))
        batch: dict = pack(rows) if rows else {}
        if rows:
            batch["weights"] = self.weights[batch["labels"].clamp(min=0)]
        if frames:
            batch["frames"] = torch.from_numpy(np.stack(frames))
            for name in truth[0]:
                batch[name] = torch.from_numpy(np.stack([t[name] for t in truth]))
        return batch

    def _scene(self, level: int, rng: np.random.Generator) -> world.Scene:
        scene = world.sample_scene(rng, level, self.split)
        if level == 4 and self.mix.several:
            shares = list(self.mix.several.values())
            fewest = rng.choice([0, *self.mix.several], p=[1 - sum(shares), *shares])
            while len(scene.events) < fewest:
                scene = world.sample_scene(rng, level, self.split)
        return scene


def pack(rows: list[Row]) -> dict:
    """Pads the rows to one length, a multiple of 16."""
    length = -(-max(len(row.ids) for row in rows) // 16) * 16
    prefix = min(row.prefix for row in rows)

    def padded(name: str, value: int) -> Tensor:
        return torch.tensor([[*getattr(row, name), *[value] * (length - len(row.ids))] for row in rows])

    return {"ids": padded("ids", 0), "labels": padded("labels", IGNORE), "segments": padded("segments", PAD),
            "positions": padded("positions", 0),
            "options": padded("options", IGNORE), "ends": padded("ends", IGNORE),
            "exists": padded("exists", IGNORE),
            "gists": [row.gists for row in rows], "prefix": prefix, "tasks": [row.tasks for row in rows]}


def block_mask(segments: Tensor, prefix: int) -> Tensor | None:
    """(B, N) segments to the causal mask (B, 1, N - prefix, N): True for keys of the prefix and of the same segment.

    None if there are only the first `prefix` rows, which need no mask.
    """
    n = segments.shape[1]
    if n == prefix:
        return None
    back = torch.ones(n, n, dtype=torch.bool, device=segments.device).tril()[prefix:]
    own = segments[:, None, :] == segments[:, prefix:, None]
    return (back & (own | (segments == PREFIX)[:, None, :]))[:, None]


def augmented(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Augments uint8 clips (B, T, S, S, 3) with the effects of a codec and a scaler, to f32 from 0 to 255."""
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
