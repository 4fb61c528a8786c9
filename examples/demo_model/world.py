"""Samples scenes of moving shapes: the things in a clip and the events, from a seed.

A scene is a data class. `render.py` draws it and `language.py` describes it. Both read the same scene, so
every caption and every answer is true.

Units: time in seconds from the start of the clip; positions, radii and distances in halves of the
frame's short edge, x to the right and y down, with (0, 0) at the centre of the frame. The model sees
only the central square, which is [-1, 1] x [-1, 1] in frames of every shape. All positions are
multiples of 1/64 and all times of 1/32, so floating-point sums are exact, and reversing a scene twice
gives the same scene.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")

KINDS = ("circle", "square", "triangle", "star", "ring", "cross")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped")
DIRECTIONS = ("left", "right", "up", "down", "up left", "up right", "down left", "down right")
BACKGROUNDS = ("dark", "light", "gradient", "checkered", "striped", "dotted")
ACTIONS = (
    "moves", "turns back", "appears", "disappears", "grows", "shrinks", "changes colour", "spins",
    "blinks", "collides", "passes behind",
)
SPLITS = ("train", "held_out", "any")
LEVELS = (0, 1, 2, 3, 4)

RADIUS = {"small": 14 / 64, "large": 22 / 64}
STEP = {
    "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1),
    "up left": (-1, -1), "up right": (1, -1), "down left": (-1, 1), "down right": (1, 1),
}
OPPOSITE_DIRECTION = {
    name: next(other for other in DIRECTIONS if STEP[other] == (-dx, -dy))
    for name, (dx, dy) in STEP.items()
}
OPPOSITE_ACTION = {"appears": "disappears", "disappears": "appears",
                   "grows": "shrinks", "shrinks": "grows"}
TRAVELS = ("moves", "turns back", "collides", "passes behind")  # actions that change the position

FRAME_SIZES = ((128, 128), (160, 120), (192, 108), (120, 160), (176, 144), (96, 96), (144, 192))
FRAME_RATES = (12, 15, 16, 20, 24, 25)
FEWEST_FRAMES = 45  # minimum per clip: each of eight sampled frames is then in a different eighth
MARGIN = 3 / 64  # free space along the edge of the central square
GRID = 64  # positions are multiples of 1/GRID
TICKS = 16  # events start and end at sixteenths of the clip


@dataclass(frozen=True)
class Thing:
    """The state of a shape at time 0. `angle` is in turns, clockwise."""

    kind: str
    colour: str
    size: str
    texture: str
    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0


@dataclass(frozen=True)
class Event:
    """An action of thing number `thing` between `start` and `end` (seconds).

    direction, distance  of a movement, per axis: a diagonal distance of 0.5 is 0.5 right and 0.5 down
    colour               final colour of "changes colour"
    count                number of blinks
    other                the thing that is hit (it then moves in the same direction) or passed
    turns                rotation of "spins", in turns
    """

    thing: int
    action: str
    start: float
    end: float
    direction: str | None = None
    distance: float = 0.0
    colour: str | None = None
    count: int | None = None
    other: int | None = None
    turns: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A clip: frames of width x height pixels. Later things are drawn over earlier ones."""

    seed: int  # seed of the noise
    width: int
    height: int
    fps: int
    seconds: float
    background: str
    things: tuple[Thing, ...]
    events: tuple[Event, ...]  # by start, then by thing
    cut: tuple[float, str] | None = None  # time of the background change, new background
    noise: float = 0.0  # std, in steps of an 8-bit channel


@dataclass(frozen=True)
class Track:
    """The appearance of one thing at each of T times."""

    x: np.ndarray  # (T,)
    y: np.ndarray  # (T,)
    radius: np.ndarray  # (T,)
    angle: np.ndarray  # (T,) in turns
    opacity: np.ndarray  # (T,) 0 to 1
    mix: np.ndarray  # (T, colours): weights of COLOURS


# ---------------------------------------------------------------- the state of a thing over time


def track(scene: Scene, index: int, times: Sequence[float] | np.ndarray) -> Track:
    """The track of thing number `index`."""
    return _track(scene.things[index], index, scene.events, np.asarray(times, dtype=np.float64))


def _track(thing: Thing, index: int, events: Sequence[Event], times: np.ndarray) -> Track:
    x = np.full(len(times), thing.x)
    y = np.full(len(times), thing.y)
    radius = np.full(len(times), RADIUS[thing.size])
    angle = np.full(len(times), thing.angle)
    opacity = np.ones(len(times))
    mix = np.zeros((len(times), len(COLOURS)))
    mix[:, COLOURS.index(thing.colour)] = 1
    for event in events:
        if index not in (event.thing, event.other):
            continue
        u = np.clip((times - event.start) / (event.end - event.start), 0, 1)
        if event.action in TRAVELS:
            way = event.distance * _progress(event, index, u)
            dx, dy = STEP[event.direction or "left"]
            x, y = x + dx * way, y + dy * way
        elif event.action == "appears":
            opacity = opacity * u
        elif event.action == "disappears":
            opacity = opacity * (1 - u)
        elif event.action == "blinks":
            opacity = opacity * _blinking(event, times)
        elif event.action in ("grows", "shrinks"):
            sign = 1 if event.action == "grows" else -1
            radius = radius + sign * (RADIUS["large"] - RADIUS["small"]) * u
        elif event.action == "changes colour":
            new = np.eye(len(COLOURS))[COLOURS.index(event.colour or thing.colour)]
            share = np.clip(2 * u - 0.5, 0, 1)[:, None]  # a short transition, so that both colours are visible
            mix = mix * (1 - share) + new * share
        elif event.action == "spins":
            angle = angle + event.turns * u
    return Track(x, y, radius, angle, opacity, mix)


def _progress(event: Event, index: int, u: np.ndarray) -> np.ndarray:
    """The fraction of the distance that a thing has moved at the fraction `u` of the event's time."""
    if event.action == "turns back":
        return 1 - np.abs(2 * u - 1)
    if event.action == "collides":  # `thing` moves in the first half, `other` in the second
        return np.clip(2 * u - (index == event.other), 0, 1)
    return u if index == event.thing else np.zeros_like(u)


def _blinking(event: Event, times: np.ndarray) -> np.ndarray:
    """1 where a blinking thing is visible. It alternates, hidden first and last."""
    spans = 2 * (event.count or 1) - 1
    span = np.floor((times - event.start) / (event.end - event.start) * spans)
    hidden = (span >= 0) & (span < spans) & (span % 2 == 0)
    return 1.0 - hidden


def settled(thing: Thing, index: int, events: Sequence[Event]) -> Thing:
    """The state of the thing after these events; exact."""
    for event in events:
        if event.action in ("moves", "passes behind", "collides"):
            if index == event.thing or (event.action == "collides" and index == event.other):
                dx, dy = STEP[event.direction or "left"]
                thing = replace(thing, x=thing.x + dx * event.distance,
                                y=thing.y + dy * event.distance)
        elif index != event.thing:
            continue
        elif event.action == "grows":
            thing = replace(thing, size="large")
        elif event.action == "shrinks":
            thing = replace(thing, size="small")
        elif event.action == "changes colour":
            thing = replace(thing, colour=event.colour or thing.colour)
        elif event.action == "spins":
            thing = replace(thing, angle=thing.angle + event.turns)
    return thing


def final_things(scene: Scene) -> tuple[Thing, ...]:
    """The states of the things at the end of the clip."""
    return tuple(settled(thing, i, scene.events) for i, thing in enumerate(scene.things))


def reversed_scene(scene: Scene) -> Scene:
    """The clip in reverse, with renamed events: right becomes left, appears becomes disappears."""
    events = sorted((_reversed_event(scene, i) for i in range(len(scene.events))), key=_order)
    cut = scene.cut and (scene.seconds - scene.cut[0], scene.background)
    background = scene.cut[1] if scene.cut else scene.background
    return replace(scene, things=final_things(scene), events=tuple(events), cut=cut,
                   background=background)


def _order(event: Event) -> tuple[float, int]:
    return event.start, event.thing


def _reversed_event(scene: Scene, number: int) -> Event:
    event = scene.events[number]
    backwards = replace(event, start=scene.seconds - event.end, end=scene.seconds - event.start,
                        action=OPPOSITE_ACTION.get(event.action, event.action), turns=-event.turns)
    if event.action in ("moves", "passes behind", "collides"):
        backwards = replace(backwards, direction=OPPOSITE_DIRECTION[event.direction or "left"])
    if event.action == "collides":
        backwards = replace(backwards, thing=event.other or 0, other=event.thing)
    if event.action == "changes colour":
        before = settled(scene.things[event.thing], event.thing, scene.events[:number])
        backwards = replace(backwards, colour=before.colour)
    return backwards


# ---------------------------------------------------------------- held-out combinations


def is_held_out(colour: str, kind: str, direction: str) -> bool:
    """Whether the combination is held out of training: about one in ten.

    A direction and its opposite are held out together, so reversed training clips show none either.
    """
    axis = min(direction, OPPOSITE_DIRECTION[direction])
    return zlib.crc32(f"{colour} {kind} {axis}".encode()) % 10 == 0


def moving_triples(scene: Scene) -> list[tuple[str, str, str]]:
    """(colour, kind, direction) of every movement, with the colour at that time."""
    triples = []
    for number, event in enumerate(scene.events):
        if event.action not in TRAVELS:
            continue
        movers = [event.thing] + ([event.other] if event.action == "collides" else [])
        for index in movers:
            thing = settled(scene.things[index or 0], index or 0, scene.events[:number])
            triples.append((thing.colour, thing.kind, event.direction or "left"))
    return triples


def _fits_split(scene: Scene, level: int, split: str) -> bool:
    if split == "any" or level == 0:
        return True
    held_out = [is_held_out(*triple) for triple in moving_triples(scene)]
    return any(held_out) if split == "held_out" else not any(held_out)


# ---------------------------------------------------------------- sampling


def sample_scene(rng: np.random.Generator, level: int, split: str = "train") -> Scene:
    """A random scene.

    level 0  one to three things that do not move: an image
          1  one thing that moves straight, or does not move
          2  one thing and one event of any action, or none
          3  one or two things, two consecutive events
          4  two or three things: collisions, passing behind, simultaneous events, longer stories, cuts
    Split "train" shows no held-out combination, "held_out" at least one in each scene (level 0 has no
    movement), "any" has no restriction.
    """
    if level not in LEVELS or split not in SPLITS:
        raise ValueError(f"no level {level!r} with split {split!r}")
    plan = _sample_plan(rng, level)
    while True:
        scene = _draft_scene(rng, plan)
        if scene is not None and _fits_split(scene, level, split):
            return scene
        if split == "held_out":  # a plan without motion never shows one
            plan = _sample_plan(rng, level)


class Plan(NamedTuple):
    """Sampled before the placement, so that scenes that are easy to place are not more frequent."""

    form: str
    things: int
    movers: int  # for the form "crowd"
    may_cut: bool


FORMS: dict[int, dict[str, float]] = {  # level: {form: share}
    0: {"still": 1},
    1: {"still": 0.15, "move": 0.85},
    2: {"still": 0.1, "one event": 0.9},
    3: {"two events": 1},
    4: {"collision": 0.24, "passing": 0.18, "crowd": 0.24, "blinks": 0.1, "two events": 0.14,
        "three events": 0.1},
}
THING_COUNTS = {0: (1, 3), 1: (1, 1), 2: (1, 1), 3: (1, 2), 4: (2, 3)}


def _sample_plan(rng: np.random.Generator, level: int) -> Plan:
    forms = FORMS[level]
    form = str(rng.choice(list(forms), p=list(forms.values())))
    low, high = THING_COUNTS[level]
    count = int(rng.integers(low, high + 1))
    return Plan(form, count, int(rng.integers(count + 1)), level == 4)


def _pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _draft_scene(rng: np.random.Generator, plan: Plan) -> Scene | None:
    """A scene of this plan; None if the things cannot be placed."""
    seconds = int(rng.integers(4, 11)) / 2
    things = _sample_things(rng, plan.things)
    events = _sample_events(rng, plan, things, seconds / TICKS)
    if events is None:
        return None
    events = sorted(events, key=_order)
    placed = _place(rng, things, events, seconds)
    if placed is None:
        return None
    width, height = _pick(rng, FRAME_SIZES)
    background = _pick(rng, BACKGROUNDS)
    return Scene(seed=int(rng.integers(2**31)), width=width, height=height,
                 fps=_pick(rng, [rate for rate in FRAME_RATES if rate * seconds >= FEWEST_FRAMES]),
                 seconds=seconds, background=background, things=tuple(placed), events=tuple(events),
                 cut=_sample_cut(rng, seconds, background) if plan.may_cut else None,
                 noise=int(rng.integers(0, 9)) / 2)


def _sample_things(rng: np.random.Generator, count: int) -> list[Thing]:
    """Things of different colours, all at the origin; at most one of three is large."""
    colours = rng.permutation(len(COLOURS))[:count]
    sizes = [_pick(rng, SIZES) for _ in range(count)]
    if count == 3:
        big = int(rng.integers(4))  # 3: no large thing
        sizes = ["large" if i == big else "small" for i in range(3)]
    return [Thing(kind=_pick(rng, KINDS), colour=COLOURS[colour], size=size,
                  texture="striped" if rng.random() < 0.25 else "plain",
                  angle=int(rng.integers(-1, 2)) / 64)
            for colour, size in zip(colours, sizes)]


def _sample_cut(rng: np.random.Generator, seconds: float,
                background: str) -> tuple[float, str] | None:
    if rng.random() > 0.35:
        return None
    others = [other for other in BACKGROUNDS if other != background]
    return int(rng.integers(3, 6)) * seconds / 8, _pick(rng, others)


# ---------------------------------------------------------------- sampling: events

SOLO_ACTIONS = ("moves", "turns back", "appears", "disappears", "grows", "shrinks",
                "changes colour", "spins", "blinks")
SOLO_WEIGHTS = np.array([5, 2, 2, 2, 2, 2, 3, 2, 3]) / 23


def _sample_events(rng: np.random.Generator, plan: Plan, things: list[Thing],
                   tick: float) -> list[Event] | None:
    """The events of a scene. A tick is a sixteenth of the clip, in seconds."""
    if plan.form == "move":
        return [_move(rng, 0, _slot(rng, 6), tick)]
    if plan.form == "one event":
        return _story(rng, things, [_slot(rng, 6)], tick)
    if plan.form == "two events":
        return _story(rng, things, [(0, 7), (9, 16)], tick)
    if plan.form == "three events":
        return _story(rng, things, [(0, 5), (6, 10), (11, 16)], tick)
    if plan.form == "blinks":
        return [_blink(rng, int(rng.integers(len(things))), (0, TICKS), tick)]
    if plan.form == "collision":
        return _collision(rng, things, tick)
    if plan.form == "passing":
        return _passing(rng, things, tick)
    return _crowd(rng, things, plan.movers, tick) if plan.form == "crowd" else []


def _slot(rng: np.random.Generator, shortest: int) -> tuple[int, int]:
    """A span of at least `shortest` ticks."""
    start = int(rng.integers(0, 5))
    return start, int(rng.integers(start + shortest, TICKS + 1))


def _story(rng: np.random.Generator, things: list[Thing], slots: list[tuple[int, int]],
           tick: float) -> list[Event] | None:
    """One event per slot, each of a random thing."""
    events: list[Event] = []
    for slot in slots:
        index = int(rng.integers(len(things)))
        action = str(rng.choice(SOLO_ACTIONS, p=SOLO_WEIGHTS))
        if action == "blinks" and len(slots) == 1:
            slot = (0, TICKS)  # long enough for three blinks
        event = _solo(rng, action, index, things, slot, tick)
        if event is None or not _may_follow(event, events, things):
            return None
        events.append(event)
    return events


def _may_follow(event: Event, earlier: Sequence[Event], things: Sequence[Thing]) -> bool:
    """Whether the event is possible and distinguishable after the earlier events of its thing."""
    before = [other for other in earlier if other.thing == event.thing]
    thing = settled(things[event.thing], event.thing, before)
    if any(other.action == "disappears" for other in before):
        return False
    if event.action == "appears" and before:
        return False
    if event.action == "grows" and thing.size != "small":
        return False
    if event.action == "shrinks" and thing.size != "large":
        return False
    same_axis = [other for other in before if other.direction and event.direction
                 and other.direction in (event.direction, OPPOSITE_DIRECTION[event.direction])]
    repeats = [other for other in before if other.action == event.action and not event.direction]
    return not same_axis and not repeats


def _solo(rng: np.random.Generator, action: str, index: int, things: list[Thing],
          slot: tuple[int, int], tick: float) -> Event | None:
    """An event of one thing inside the slot; None if the thing cannot do it."""
    if action in ("moves", "turns back"):
        return _move(rng, index, slot, tick, action)
    start, end = slot
    if action == "blinks":
        return _blink(rng, index, slot, tick) if min(end, 14) - max(start, 2) >= 3 else None
    if action in ("appears", "disappears"):
        start = int(rng.integers(max(start, 2), max(min(end - 2, 12), 3)))
        return Event(index, action, start * tick, (start + 2) * tick)
    event = Event(index, action, start * tick, end * tick)
    if action == "changes colour":
        taken = {thing.colour for thing in things}
        return replace(event, colour=_pick(rng, [c for c in COLOURS if c not in taken]))
    if action == "spins":
        if things[index].kind in ("circle", "ring") and things[index].texture == "plain":
            return None
        # About an eighth of a turn between two of the eight frames: less is not visible, more may alias.
        turns = max(3 * (end - start), 12) / 64
        return replace(event, turns=turns * (1 if rng.random() < 0.5 else -1))
    return event


def _move(rng: np.random.Generator, index: int, slot: tuple[int, int], tick: float,
          action: str = "moves") -> Event:
    direction = _pick(rng, DIRECTIONS)
    low, high = (24, 52) if " " in direction else (30, 66)
    return Event(index, action, slot[0] * tick, slot[1] * tick, direction=direction,
                 distance=int(rng.integers(low, high)) / GRID)


def _blink(rng: np.random.Generator, index: int, slot: tuple[int, int], tick: float) -> Event:
    """Hidden and shown for an eighth of the clip each, so that eight frames show every change."""
    first, last = max(2, slot[0] + slot[0] % 2), min(14, slot[1])
    eighths = (last - first) // 2
    count = int(rng.integers(1, (eighths + 1) // 2 + 1))
    start = first + 2 * int(rng.integers(0, eighths - 2 * count + 2))
    return Event(index, "blinks", start * tick, (start + 4 * count - 2) * tick, count=count)


def _crowd(rng: np.random.Generator, things: list[Thing], movers: int,
           tick: float) -> list[Event]:
    """`movers` of the things move at the same time."""
    slot = _slot(rng, 8)
    return [_move(rng, int(i), slot, tick, "turns back" if rng.random() < 0.2 else "moves")
            for i in rng.permutation(len(things))[:movers]]


def _collision(rng: np.random.Generator, things: list[Thing], tick: float) -> list[Event]:
    """One of the first two things hits the other, which then moves."""
    hitter = int(rng.integers(2))
    room = 2 - 2 * MARGIN - 2 * sum(RADIUS[thing.size] for thing in things[:2])
    longest = int(room * GRID / 2)
    start, end = _slot(rng, 10)
    return [Event(hitter, "collides", start * tick, end * tick, other=1 - hitter,
                  direction=_pick(rng, DIRECTIONS[:4]),
                  distance=int(rng.integers(longest * 3 // 4, longest + 1)) / GRID)]


def _passing(rng: np.random.Generator, things: list[Thing], tick: float) -> list[Event]:
    """The first thing, made small, passes behind the second."""
    things[0] = replace(things[0], size="small")
    reach = RADIUS["small"] + RADIUS[things[1].size] + int(rng.integers(1, 5)) / GRID
    start, end = _slot(rng, 9)
    return [Event(0, "passes behind", start * tick, end * tick, other=1,
                  direction=_pick(rng, DIRECTIONS[:4]), distance=2 * reach)]


# ---------------------------------------------------------------- sampling: places


def _place(rng: np.random.Generator, things: list[Thing], events: list[Event],
           seconds: float) -> list[Thing] | None:
    """Positions at which the things stay inside the square and do not touch. None if none is found."""
    times = np.linspace(0, seconds, 2 * TICKS + 1)  # includes the turning points, in the middle of events
    offsets = _pair_offset(rng, things, events)
    anchored = [replace(thing, x=x, y=y) for thing, (x, y) in zip(things, offsets)]
    tracks = [_track(thing, i, events, times) for i, thing in enumerate(anchored)]
    pair = {i for event in events if event.other is not None for i in (event.thing, event.other)}
    groups = [sorted(pair)] if pair else []
    groups += [[i] for i in range(len(things)) if i not in pair]
    for _ in range(20):
        shifts = np.zeros((len(things), 2))
        for group in groups:
            shift = _shift(rng, [tracks[i] for i in group])
            if shift is None:
                return None
            shifts[group] = shift
        if _clear(tracks, shifts, pair):
            return [replace(thing, x=thing.x + float(dx), y=thing.y + float(dy))
                    for thing, (dx, dy) in zip(anchored, shifts)]
    return None


def _pair_offset(rng: np.random.Generator, things: list[Thing],
                 events: list[Event]) -> list[tuple[float, float]]:
    """Relative positions; only things that meet have one."""
    offsets = [(0.0, 0.0)] * len(things)
    for event in events:
        if event.other is None:
            continue
        dx, dy = STEP[event.direction or "left"]
        if event.action == "collides":
            touching = RADIUS[things[0].size] + RADIUS[things[1].size] - 3 / GRID
            ahead, aside = event.distance + touching, 0.0
        else:
            ahead, aside = event.distance / 2, int(rng.integers(-4, 5)) / GRID
        offsets[event.other] = (dx * ahead + dy * aside, dy * ahead + dx * aside)
    return offsets


def _shift(rng: np.random.Generator, tracks: list[Track]) -> tuple[float, float] | None:
    """A random shift that keeps these tracks inside the central square; None if there is none."""
    shift = []
    for axis in ("x", "y"):
        low = min(float((getattr(t, axis) - t.radius).min()) for t in tracks)
        high = max(float((getattr(t, axis) + t.radius).max()) for t in tracks)
        first = int(np.ceil((-1 + MARGIN - low) * GRID))
        last = int(np.floor((1 - MARGIN - high) * GRID))
        if first > last:
            return None
        shift.append(int(rng.integers(first, last + 1)) / GRID)
    return shift[0], shift[1]


def _clear(tracks: list[Track], shifts: np.ndarray, pair: set[int]) -> bool:
    """Whether no two things touch, except the pair that meets."""
    for i, one in enumerate(tracks):
        for j, two in enumerate(tracks[:i]):
            if {i, j} == pair:
                continue
            dx = one.x - two.x + shifts[i, 0] - shifts[j, 0]
            dy = one.y - two.y + shifts[i, 1] - shifts[j, 1]
            if np.any(np.hypot(dx, dy) < one.radius + two.radius + 1 / 16):
                return False
    return True
