"""Captions and questions about a scene of world.py, and a parser of captions.

The vocabulary is small and the sentences are simple, so that a small model can learn them. All texts are
derived from the scene. A thing is named by its colour at the start ("the red circle"), things are listed
from left to right, and events in the order of their starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from world import (
    BACKGROUNDS, COLOURS, DIRECTIONS, KINDS, OPPOSITE_ACTION, OPPOSITE_DIRECTION, SIZES, STEP,
    TRAVELS, Event, Scene, Thing, final_things,
)

TIMES = {1: "once", 2: "twice", 3: "three times"}
NUMBERS = ("none", "one", "two", "three")


@dataclass(frozen=True)
class QA:
    """A question of a benchmark task. `answer` is one of `candidates` unless that is None."""

    task: str
    question: str
    answer: str
    candidates: tuple[str, ...] | None


class Mention(NamedTuple):
    """A thing and its motions in order: ("circle", "red", ("moves left", "grows"))."""

    kind: str
    colour: str
    motions: tuple[str, ...]


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


# ---------------------------------------------------------------- ground truth


def label(event: Event) -> str:
    """The canonical text of an event: "moves up left", "blinks twice"."""
    if event.direction:
        return f"{event.action} {event.direction}"
    if event.action == "changes colour":
        return f"turns {event.colour}"
    if event.action == "blinks":
        return f"blinks {TIMES[event.count or 1]}"
    return event.action


def telling_order(scene: Scene) -> list[int]:
    """Indices of the things from left to right, at time 0."""
    return sorted(range(len(scene.things)), key=lambda i: (scene.things[i].x, scene.things[i].y))


def told_events(scene: Scene) -> list[Event]:
    """The events by start; events with the same start by their things, left to right."""
    rank = {index: place for place, index in enumerate(telling_order(scene))}
    return sorted(scene.events, key=lambda event: (event.start, rank[event.thing]))


def truth(scene: Scene) -> list[Mention]:
    """The expected result of parse_caption() for a caption of the scene."""
    told = told_events(scene)
    return [Mention(scene.things[i].kind, scene.things[i].colour,
                    tuple(label(event) for event in told if event.thing == i))
            for i in telling_order(scene)]


def true_story(scene: Scene) -> list[tuple[str, str, str]]:
    """(kind, colour, motion) of the events in order: the expected result of parse_story()."""
    return [(scene.things[event.thing].kind, scene.things[event.thing].colour, label(event))
            for event in told_events(scene)]


# ---------------------------------------------------------------- captions


def name(thing: Thing) -> str:
    return f"the {thing.colour} {thing.kind}"


def describe(thing: Thing) -> str:
    texture = "striped " if thing.texture == "striped" else ""
    return f"a {thing.size} {texture}{thing.colour} {thing.kind}"


def enumerate_words(words: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption with the background, every thing and the events in order, in random phrasing."""
    sentences = [_opening(scene, rng)]
    sentences += _story_sentences(scene, rng) if scene.events else [_stillness(scene, rng)]
    if scene.cut is not None:
        sentences.append(_pick(rng, (f"the background changes to {scene.cut[1]}",
                                     f"the background becomes {scene.cut[1]}")))
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def _opening(scene: Scene, rng: np.random.Generator) -> str:
    things = enumerate_words([describe(scene.things[i]) for i in telling_order(scene)])
    ground = f"on a {scene.background} background"
    return _pick(rng, (f"there is {things} {ground}", f"{ground} there is {things}",
                       f"the video shows {things} {ground}"))


def _stillness(scene: Scene, rng: np.random.Generator) -> str:
    still = "it stands still" if len(scene.things) == 1 else "they stand still"
    return _pick(rng, (still, "nothing moves"))


def _story_sentences(scene: Scene, rng: np.random.Generator) -> list[str]:
    sentences: list[str] = []
    last = 0 if len(scene.things) == 1 else -1  # the thing that "it" refers to
    together = [list(group) for _, group in groupby(told_events(scene), lambda e: e.start)]
    for step, group in enumerate(together):
        clauses = []
        for event in group:
            subject = "it" if event.thing == last and rng.random() < 0.6 else ""
            clauses.append((subject or name(scene.things[event.thing]))
                           + " " + _verb_phrase(scene, event, rng))
            last = event.thing if event.other is None else -1
        sentences += _together(clauses, _joint(step, len(together), rng), rng)
    return sentences


def _joint(step: int, steps: int, rng: np.random.Generator) -> str:
    """The first words of the sentence of this step."""
    if step > 0:
        return _pick(rng, ("then ", "after that "))
    return _pick(rng, ("first ", "")) if steps > 1 else ""


def _together(clauses: list[str], joint: str, rng: np.random.Generator) -> list[str]:
    """Sentences for one to three simultaneous clauses."""
    if len(clauses) == 1:
        return [joint + clauses[0]]
    if rng.random() < 0.5:
        rest = [f"at the same time {clause}" for clause in clauses[1:]]
        return [joint + clauses[0], *rest]
    return [f"{joint}{clauses[0]} while {clauses[1]}",
            *(f"at the same time {clause}" for clause in clauses[2:])]


def _verb_phrase(scene: Scene, event: Event, rng: np.random.Generator) -> str:
    return _pick(rng, _verb_phrases(scene, event))


def _verb_phrases(scene: Scene, event: Event) -> tuple[str, ...]:
    """The phrasings of an event, the simplest first."""
    way = event.direction
    other = name(scene.things[event.other]) if event.other is not None else ""
    return {
        "moves": (f"moves {way}", f"goes {way}"),
        "turns back": (f"moves {way} and turns back", f"goes {way} and comes back"),
        "appears": ("appears",),
        "disappears": ("disappears", "vanishes"),
        "grows": ("grows", "becomes larger"),
        "shrinks": ("shrinks", "becomes smaller"),
        "changes colour": (f"turns {event.colour}", f"changes its colour to {event.colour}"),
        "spins": ("spins", "rotates"),
        "blinks": (f"blinks {TIMES[event.count or 1]}",),
        "collides": (f"moves {way} and hits {other}", f"hits {other} and pushes it {way}"),
        "passes behind": (f"moves {way} behind {other}", f"goes {way} and passes behind {other}"),
    }[event.action]


def _clause(scene: Scene, event: Event) -> str:
    """The event as a clause: "the red circle moves left"."""
    return f"{name(scene.things[event.thing])} {_verb_phrases(scene, event)[0]}"


# ---------------------------------------------------------------- parsing captions

_THING = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(KINDS)})s?\b")
_WAY = re.compile(r"\b(?:(up|down)(?: and)?(?: to the)? )?(left|right)\b|\b(up|down)\b")
_CLAUSES = re.compile(r"[.;,!?\n]|\b(?:while|then|first|after that|at the same time)\b")
_SIMPLE_VERBS = (
    ("disappears", re.compile(r"\b(?:disappears?|vanish(?:es)?)\b")),
    ("appears", re.compile(r"\bappears?\b")),
    ("grows", re.compile(r"\b(?:grows?|(?:becomes?|gets?) (?:larger|bigger))\b")),
    ("shrinks", re.compile(r"\b(?:shrinks?|(?:becomes?|gets?) smaller)\b")),
    ("spins", re.compile(r"\b(?:spins?|rotates?)\b")),
)
_TRAVEL_VERBS = (
    ("collides", re.compile(r"\b(?:hits?|push(?:es)?|collides?)\b")),
    ("passes behind", re.compile(r"\bbehind\b")),
    ("turns back", re.compile(r"\b(?:turns?|comes?|goes) back\b")),
    ("moves", re.compile(r"\b(?:moves?|goes|go)\b")),
)
_NEW_COLOUR = re.compile(rf"\b(?:turns|colour to|becomes) ({'|'.join(COLOURS)})\b")
_BLINK = re.compile(r"\bblinks?(?: (once|twice|three times))?\b")


def parse_story(text: str) -> list[tuple[str, str, str]]:
    """(kind, colour, motion) of the events in a caption, in its order.

    Parses every phrasing of caption(), and similar texts.
    """
    story = []
    subject: tuple[str, str] | None = None
    for clause in _CLAUSES.split(text.lower()):
        found = _THING.search(clause)
        if found:
            subject = (found[2], found[1])
        motion = _motion(clause)
        if motion and subject:
            story.append((*subject, motion))
    return story


def _motion(clause: str) -> str | None:
    """The motion of a clause, as in label(); None if it has none."""
    if "background" in clause or "nothing" in clause:
        return None
    if blink := _BLINK.search(clause):
        return f"blinks {blink[1] or 'once'}"
    if colour := _NEW_COLOUR.search(clause):
        return f"turns {colour[1]}"
    way = _WAY.search(clause)
    if way:
        direction = " ".join(part for part in way.groups() if part)
        for action, verb in _TRAVEL_VERBS:
            if verb.search(clause):
                return f"{action} {direction}"
    return next((action for action, verb in _SIMPLE_VERBS if verb.search(clause)), None)


def parse_caption(text: str) -> list[Mention]:
    """The things that a caption names, in its order, each with its motions."""
    things = dict.fromkeys((kind, colour) for colour, kind in _THING.findall(text.lower()))
    story = parse_story(text)
    return [Mention(kind, colour, tuple(motion for *thing, motion in story
                                        if tuple(thing) == (kind, colour)))
            for kind, colour in things]


# ---------------------------------------------------------------- questions

Asker = Callable[[Scene, np.random.Generator], "QA | None"]


def questions(scene: Scene, rng: np.random.Generator, n: int, multiple_choice: float = 0.6,
              often: Mapping[str, float] | None = None) -> list[QA]:
    """Up to n different questions, a share `multiple_choice` of them with candidates.

    Tasks are sampled from those that apply to the scene, with the weights `often` (default 1).
    """
    asked: dict[str, QA] = {}
    tasks = tuple(ASKERS)
    weights = np.array([(often or {}).get(task, 1.0) for task in tasks])
    for _ in range(4 * n):
        if len(asked) >= n:
            break
        task = str(rng.choice(tasks, p=weights / weights.sum())) if often else _pick(rng, tasks)
        qa = ask(scene, rng, task)
        if qa is None:
            continue
        # Only one about existence: among several different ones, most answers would be no.
        key = task if task == "Object Existence" else qa.question
        asked.setdefault(key, qa if rng.random() < multiple_choice else opened(qa))
    return list(asked.values())


def ask(scene: Scene, rng: np.random.Generator, task: str) -> QA | None:
    """A multiple-choice question of this task; None if it does not apply to the scene."""
    return ASKERS[task](scene, rng)


def opened(qa: QA) -> QA:
    """The question without candidates, with a sentence as answer."""
    answer = qa.answer[0].upper() + qa.answer[1:] + "."
    return replace(qa, answer=answer, candidates=None)


def best_option_text(qa: QA) -> tuple[str, str]:
    """The question with its options, and the right option, in MVBench's format."""
    candidates = qa.candidates or ()
    options = [f"({chr(ord('A') + i)}) {text}" for i, text in enumerate(candidates)]
    question = f"Question: {qa.question}\nOptions:\n" + "\n".join(options)
    return question, options[candidates.index(qa.answer)]


def _choice(rng: np.random.Generator, task: str, question: str, answer: str,
            others: Iterable[str]) -> QA:
    """A question with distinct candidates in random order."""
    candidates = list(dict.fromkeys([answer, *others]))
    order = rng.permutation(len(candidates))
    return QA(task, question, answer, tuple(candidates[int(i)] for i in order))


def _some(rng: np.random.Generator, pool: Iterable[str], count: int,
          without: Iterable[str]) -> list[str]:
    """`count` random items of the pool that are not in `without`."""
    left = [item for item in pool if item not in set(without)]
    return [left[int(i)] for i in rng.permutation(len(left))[:count]]


def _events_of(scene: Scene, index: int) -> list[Event]:
    return [event for event in scene.events if index in (event.thing, event.other)]


def _ways_of(scene: Scene, index: int) -> list[str]:
    """The directions of a thing's movements."""
    return [event.direction for event in scene.events if event.direction and
            (event.thing == index or (event.other == index and event.action == "collides"))]


def _movers(scene: Scene) -> list[int]:
    return [i for i in range(len(scene.things)) if _ways_of(scene, i)]


def _any_index(rng: np.random.Generator, indices: Sequence[int]) -> int | None:
    return indices[int(rng.integers(len(indices)))] if indices else None


def _quarter_turns(direction: str) -> list[str]:
    """The direction and its rotations by quarter turns."""
    dx, dy = STEP[direction]
    steps = [(dx, dy), (-dy, dx), (-dx, -dy), (dy, -dx)]
    return [next(d for d in DIRECTIONS if STEP[d] == step) for step in steps]


def _ask_direction(scene: Scene, rng: np.random.Generator) -> QA | None:
    index = _any_index(rng, [i for i in _movers(scene) if len(_ways_of(scene, i)) == 1])
    if index is None:
        return None
    way = _ways_of(scene, index)[0]
    back = any(event.action == "turns back" for event in _events_of(scene, index))
    question = (f"In which direction does {name(scene.things[index])} move"
                f"{' first' if back else ''}?")
    return _choice(rng, "Moving Direction", question, way, _quarter_turns(way))


def _ask_moving_count(scene: Scene, rng: np.random.Generator) -> QA | None:
    if any(event.action == "spins" for event in scene.events):  # unclear whether spinning is moving
        return None
    if not _movers(scene) and rng.random() < 0.5:
        return None
    return _choice(rng, "Moving Count", "How many things move?", NUMBERS[len(_movers(scene))],
                   NUMBERS)


def _ask_moving_attribute(scene: Scene, rng: np.random.Generator) -> QA | None:
    movers = _movers(scene)
    if len(movers) != 1:
        return None
    thing = scene.things[movers[0]]
    steady = final_things(scene)[movers[0]]
    what = _pick(rng, ("colour", "shape", "size"))
    if (what, steady.colour) == ("colour", thing.colour):
        seen = [other.colour for other in scene.things]
        return _choice(rng, "Moving Attribute", "What colour is the thing that moves?",
                       thing.colour, _distractors(rng, thing.colour, seen, COLOURS))
    if (what, steady.size) == ("size", thing.size):
        return _choice(rng, "Moving Attribute", "What size is the thing that moves?", thing.size,
                       SIZES)
    seen = [other.kind for other in scene.things]
    return _choice(rng, "Moving Attribute", "What shape is the thing that moves?", thing.kind,
                   _distractors(rng, thing.kind, seen, KINDS))


def _distractors(rng: np.random.Generator, right: str, seen: Sequence[str],
                 pool: Sequence[str]) -> list[str]:
    """Three wrong candidates, preferably from the clip."""
    wrong = [item for item in dict.fromkeys(seen) if item != right]
    return wrong + _some(rng, pool, 3 - len(wrong), [right, *wrong])


def _ask_existence(scene: Scene, rng: np.random.Generator) -> QA:
    present = {(t.colour, t.kind) for t in (*scene.things, *final_things(scene))}
    thing = scene.things[int(rng.integers(len(scene.things)))]
    colour, kind = thing.colour, thing.kind
    answer = _pick(rng, ("yes", "no"))
    while answer == "no" and (colour, kind) in present:
        colour, kind = thing.colour, thing.kind
        if rng.random() < 0.5:
            colour = _pick(rng, COLOURS)
        else:
            kind = _pick(rng, KINDS)
    question = f"Is there {'an' if colour == 'orange' else 'a'} {colour} {kind}?"
    return _choice(rng, "Object Existence", question, answer, ("yes", "no"))


def _in_sequence(scene: Scene) -> bool:
    """Whether there are two or more events that do not overlap."""
    events = scene.events
    return len(events) > 1 and all(a.end <= b.start for a, b in zip(events, events[1:]))


def _contrary(event: Event, rng: np.random.Generator, taken: Iterable[str]) -> Event:
    """The event with the opposite action, or another action if there is no opposite."""
    if event.direction:
        return replace(event, direction=OPPOSITE_DIRECTION[event.direction])
    if event.action in OPPOSITE_ACTION:
        return replace(event, action=OPPOSITE_ACTION[event.action])
    if event.action == "changes colour":
        return replace(event, colour=_some(rng, COLOURS, 1, [event.colour or "", *taken])[0])
    if event.action == "blinks":
        return replace(event, action="spins")
    return replace(event, action="blinks", count=1)


def _ask_sequence(scene: Scene, rng: np.random.Generator) -> QA | None:
    if not _in_sequence(scene):
        return None
    first = rng.random() < 0.5
    two = (scene.events[0], scene.events[-1])
    colours = [thing.colour for thing in scene.things]
    contrary = [_contrary(event, rng, colours) for event in two]
    answer = _clause(scene, two[0] if first else two[1])
    return _choice(rng, "Action Sequence", f"What happens {'first' if first else 'last'}?", answer,
                   [_clause(scene, event) for event in (*two, *contrary)])


def _ask_action_count(scene: Scene, rng: np.random.Generator) -> QA | None:
    blinks = {event.thing: event.count for event in scene.events if event.action == "blinks"}
    if not blinks and rng.random() < 0.95:
        return None
    index = int(rng.integers(len(scene.things)))
    if blinks and rng.random() < 0.7:
        index = next(iter(blinks))
    count = blinks.get(index)
    return _choice(rng, "Action Count", f"How often does {name(scene.things[index])} blink?",
                   TIMES[count] if count else "never", ("never", *TIMES.values()))


def _ask_antonym(scene: Scene, rng: np.random.Generator) -> QA | None:
    index = int(rng.integers(len(scene.things)))
    events = _events_of(scene, index)
    still = Event(index, "moves", 0, 1, direction=_pick(rng, DIRECTIONS))
    event = events[0] if events else still
    contrary = {"moves": _contrary, **{action: _contrary for action in OPPOSITE_ACTION}}
    if len(events) > 1 or event.action not in contrary or (not events and rng.random() < 0.5):
        return None
    pair = [f"it {_verb_phrases(scene, e)[0]}" for e in (event, _contrary(event, rng, ()))]
    answer = pair[0] if events else "it stands still"
    return _choice(rng, "Action Antonym", f"What does {name(scene.things[index])} do?", answer,
                   [*pair, "it stands still"])


def _ask_action(scene: Scene, rng: np.random.Generator) -> QA | None:
    index = _any_index(rng, [e.thing for e in scene.events if len(_events_of(scene, e.thing)) == 1])
    if index is None:
        return None
    event = _events_of(scene, index)[0]
    if event.other is not None:
        return None
    colour = _some(rng, COLOURS, 1, [thing.colour for thing in scene.things])[0]
    way = _pick(rng, DIRECTIONS)
    pool = [Event(index, action, 0, 1, direction=way, colour=colour, count=int(rng.integers(1, 4)))
            for action in ("moves", "turns back", "appears", "disappears", "grows", "shrinks",
                           "changes colour", "spins", "blinks") if action != event.action]
    wrong = [f"it {_verb_phrases(scene, pool[int(i)])[0]}" for i in rng.permutation(len(pool))[:3]]
    return _choice(rng, "Fine-grained Action", f"What does {name(scene.things[index])} do?",
                   f"it {_verb_phrases(scene, event)[0]}", wrong)


def _ask_state(scene: Scene, rng: np.random.Generator) -> QA | None:
    index = int(rng.integers(len(scene.things)))
    thing, last = scene.things[index], final_things(scene)[index]
    changes = [event for event in _events_of(scene, index)
               if event.action in ("grows", "shrinks", "changes colour")]
    if len(changes) > 1 or (not changes and rng.random() < 0.85):
        return None
    new = changes[0].colour if changes else None
    if rng.random() < 0.4 and (new or not changes):
        visible = not any(e.action == "disappears" for e in _events_of(scene, index))
        others = _some(rng, COLOURS, 2 if new else 3, [thing.colour, last.colour])
        return None if not visible else _choice(
            rng, "State Change", f"What colour is {name(thing)} at the end?", last.colour,
            [thing.colour, *others])
    turned = f"it turns {new or _some(rng, COLOURS, 1, [t.colour for t in scene.things])[0]}"
    answer = {"grows": "it grows", "shrinks": "it shrinks", "changes colour": turned}.get(
        changes[0].action if changes else "", "it stays the same")
    return _choice(rng, "State Change", f"How does {name(thing)} change?", answer,
                   ("it grows", "it shrinks", turned, "it stays the same"))


def _ask_transition(scene: Scene, rng: np.random.Generator) -> QA | None:
    if scene.cut is None and rng.random() < 0.94:
        return None
    here = scene.background
    there = scene.cut[1] if scene.cut else _some(rng, BACKGROUNDS, 1, [here])[0]
    options = (f"from {here} to {there}", f"from {there} to {here}", "it stays the same")
    return _choice(rng, "Scene Transition", "How does the background change?",
                   options[0 if scene.cut else 2], options)


def _ask_interaction(scene: Scene, rng: np.random.Generator) -> QA | None:
    meeting = next((event for event in scene.events if event.other is not None), None)
    if len(scene.things) < 2 or (meeting is None and rng.random() < 0.7):
        return None
    if meeting is not None and rng.random() < 0.4:
        return _ask_partner(scene, rng, meeting)
    pair = (meeting.thing, meeting.other or 0) if meeting else tuple(
        int(i) for i in rng.permutation(len(scene.things))[:2])
    one, two = (name(scene.things[i]) for i in pair)
    first, second = (one, two) if rng.random() < 0.5 else (two, one)
    hits, passes = f"{one} hits {two}", f"{one} passes behind {two}"
    answer = "they do not meet" if meeting is None else (
        hits if meeting.action == "collides" else passes)
    options = (hits, passes, f"{two} hits {one}", "they do not meet")
    if answer == passes:
        options = (hits, passes, f"{two} passes behind {one}", "they do not meet")
    elif meeting is None and rng.random() < 0.5:
        options = (hits, passes, f"{two} passes behind {one}", "they do not meet")
    return _choice(rng, "Object Interaction", f"What happens between {first} and {second}?",
                   answer, options)


def _ask_partner(scene: Scene, rng: np.random.Generator, meeting: Event) -> QA:
    """Asks which thing is hit or passed."""
    partner = scene.things[meeting.other or 0]
    shown = [name(t) for i, t in enumerate(scene.things) if i != meeting.thing]
    made_up = [name(replace(partner, kind=_some(rng, KINDS, 1, [partner.kind])[0])),
               name(replace(partner, colour=_some(rng, COLOURS, 1, [
                   thing.colour for thing in scene.things])[0]))]
    verb = "hit" if meeting.action == "collides" else "pass behind"
    return _choice(rng, "Object Interaction",
                   f"What does {name(scene.things[meeting.thing])} {verb}?", name(partner),
                   [*shown, *made_up])


def _ask_order(scene: Scene, rng: np.random.Generator) -> QA | None:
    if not _in_sequence(scene):
        return None
    actors = list(dict.fromkeys(event.thing for event in scene.events))
    if len(actors) != len(scene.events):
        return None
    one, two = (name(scene.things[i]) for i in (actors[0], actors[-1]))
    question = _pick(rng, ("Which thing acts first?", "Which thing acts last?"))
    return _choice(rng, "Character Order", question, one if "first" in question else two,
                   [name(thing) for thing in scene.things])


def _ask_place(scene: Scene, rng: np.random.Generator) -> QA | None:
    index = int(rng.integers(len(scene.things)))
    if any(event.action == "disappears" for event in _events_of(scene, index)):
        return None
    thing = final_things(scene)[index]
    across = rng.random() < 0.5
    place = thing.x if across else thing.y
    if abs(place) < 0.25:
        return None
    sides = ("on the left", "on the right") if across else ("at the top", "at the bottom")
    return _choice(rng, "Object Shuffle", f"Where is {name(scene.things[index])} at the end?",
                   sides[int(place > 0)], sides)


def _ask_attribute(scene: Scene, rng: np.random.Generator) -> QA:
    """Asks about a single frame."""
    task = "Object Attribute"
    index = int(rng.integers(len(scene.things)))
    thing, last = scene.things[index], final_things(scene)[index]
    what = int(rng.integers(5))
    if what == 0:
        return _choice(rng, task, "How many things are there?", NUMBERS[len(scene.things)],
                       NUMBERS[1:])
    kinds = [other.kind for other in scene.things]
    if what == 1 and kinds.count(thing.kind) == 1 and thing.colour == last.colour:
        seen = [other.colour for other in scene.things]
        return _choice(rng, task, f"What colour is the {thing.kind}?", thing.colour,
                       _distractors(rng, thing.colour, seen, COLOURS))
    if what == 2 and thing.colour == last.colour:
        return _choice(rng, task, f"What shape is the {thing.colour} thing?", thing.kind,
                       _distractors(rng, thing.kind, kinds, KINDS))
    if what == 3 and thing.size == last.size:
        return _choice(rng, task, f"What size is {name(thing)}?", thing.size, SIZES)
    if scene.cut is None:
        return _choice(rng, task, "What is the background like?", scene.background,
                       _some(rng, BACKGROUNDS, 3, [scene.background]))
    return _choice(rng, task, f"Is {name(thing)} striped?",
                   "yes" if thing.texture == "striped" else "no", ("yes", "no"))


ASKERS: dict[str, Asker] = {
    "Action Sequence": _ask_sequence,
    "Action Antonym": _ask_antonym,
    "Fine-grained Action": _ask_action,
    "Object Existence": _ask_existence,
    "Object Interaction": _ask_interaction,
    "Object Shuffle": _ask_place,
    "Moving Direction": _ask_direction,
    "Scene Transition": _ask_transition,
    "Action Count": _ask_action_count,
    "Moving Count": _ask_moving_count,
    "Moving Attribute": _ask_moving_attribute,
    "State Change": _ask_state,
    "Character Order": _ask_order,
    "Object Attribute": _ask_attribute,  # not in MVBench, which has no task about single frames
}
MVBENCH_TASKS = tuple(task for task in ASKERS if task != "Object Attribute")
