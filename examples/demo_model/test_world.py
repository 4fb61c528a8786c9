"""Tests of scenes, rendering, captions and clips: python -m unittest discover -s examples/demo_model"""

from __future__ import annotations

import json
import pathlib
import shutil
import sys
import tempfile
import unittest
from collections.abc import Iterator

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from clips import read_clips, sample_clips, write_clips
from language import (
    MVBENCH_TASKS, best_option_text, caption, parse_caption, parse_story, questions, true_story,
    truth,
)
from render import PALETTE, frame_count, render, sample_times
from world import (
    COLOURS, DIRECTIONS, KINDS, LEVELS, Event, Scene, Thing, is_held_out, moving_triples,
    reversed_scene, sample_scene, track,
)


def scenes(count: int, level: int, split: str = "train") -> Iterator[Scene]:
    rng = np.random.default_rng(1000 + level)
    for _ in range(count):
        yield sample_scene(rng, level, split)


def still(thing: Thing, *events: Event) -> Scene:
    """A scene of one thing without noise: 96x96, 4 s."""
    return Scene(seed=1, width=96, height=96, fps=16, seconds=4.0, background="dark",
                 things=(thing,), events=events)


class World(unittest.TestCase):
    def test_same_seed_same_scene(self) -> None:
        for level in LEVELS:
            self.assertEqual(list(scenes(20, level)), list(scenes(20, level)))

    def test_levels(self) -> None:
        for scene in scenes(100, 0):
            self.assertEqual(scene.events, ())
        for scene in scenes(100, 1):
            self.assertEqual(len(scene.things), 1)
            self.assertLessEqual({event.action for event in scene.events}, {"moves"})
        for scene in scenes(100, 2):
            self.assertLessEqual(len(scene.events), 1)
        for scene in scenes(100, 3):
            first, second = scene.events
            self.assertLessEqual(first.end, second.start)
        actions = {event.action for scene in scenes(300, 4) for event in scene.events}
        self.assertLessEqual({"collides", "passes behind", "blinks", "moves"}, actions)

    def test_held_out_share(self) -> None:
        triples = [(c, k, d) for c in COLOURS for k in KINDS for d in DIRECTIONS]
        share = sum(is_held_out(*triple) for triple in triples) / len(triples)
        self.assertTrue(0.07 < share < 0.13, share)
        # Each colour, kind and direction is in training, in most combinations.
        for words, place in ((COLOURS, 0), (KINDS, 1), (DIRECTIONS, 2)):
            for word in words:
                group = [is_held_out(*triple) for triple in triples if triple[place] == word]
                self.assertLess(sum(group), len(group) / 2, word)

    def test_training_shows_no_held_out_triple_even_backwards(self) -> None:
        for level in LEVELS:
            for scene in scenes(200, level):
                for way in (scene, reversed_scene(scene)):
                    self.assertFalse(any(is_held_out(*triple) for triple in moving_triples(way)))

    def test_held_out_scenes_show_one(self) -> None:
        for level in (1, 2, 3, 4):
            for scene in scenes(20, level, "held_out"):
                self.assertTrue(any(is_held_out(*triple) for triple in moving_triples(scene)))

    def test_reversing_twice_is_the_identity(self) -> None:
        for level in LEVELS:
            for scene in scenes(300, level):
                self.assertEqual(reversed_scene(reversed_scene(scene)), scene)

    def test_reversed_names(self) -> None:
        thing = Thing("star", "red", "small", "plain", -0.5, 0.0)
        turns = {"appears": "disappears", "grows": "shrinks", "spins": "spins"}
        for action, backwards in turns.items():
            scene = reversed_scene(still(thing, Event(0, action, 1.0, 2.0)))
            self.assertEqual((scene.events[0].action, scene.events[0].start), (backwards, 2.0))
        move = Event(0, "moves", 0.0, 2.0, direction="up right", distance=0.5)
        self.assertEqual(reversed_scene(still(thing, move)).events[0].direction, "down left")
        turn = Event(0, "changes colour", 0.0, 2.0, colour="blue")
        scene = reversed_scene(still(thing, turn))
        self.assertEqual((scene.things[0].colour, scene.events[0].colour), ("blue", "red"))

    def test_everything_stays_inside_the_central_square(self) -> None:
        for level in LEVELS:
            for scene in scenes(200, level, "any"):
                times = np.linspace(0, scene.seconds, 50)
                for index in range(len(scene.things)):
                    course = track(scene, index, times)
                    reach = np.maximum(abs(course.x), abs(course.y)) + course.radius
                    self.assertLessEqual(reach.max(), 1)


class Rendering(unittest.TestCase):
    def test_shape_and_determinism(self) -> None:
        for scene in scenes(5, 4):
            times = sample_times(scene, 8)
            frames = render(scene, times)
            self.assertEqual(frames.shape, (8, scene.height, scene.width, 3))
            self.assertEqual(frames.dtype, np.uint8)
            np.testing.assert_array_equal(frames, render(scene, times))
            np.testing.assert_array_equal(frames[3], render(scene, times[3:4])[0])

    def test_sampled_times_follow_the_evaluation_rule(self) -> None:
        scene = Scene(seed=1, width=96, height=96, fps=25, seconds=12.0, background="dark",
                      things=(), events=())
        indices = [round(time * 25) for time in sample_times(scene, 8)]
        self.assertEqual(frame_count(scene), 300)
        self.assertEqual(indices, [18, 55, 93, 130, 168, 205, 242, 280])

    def test_colour_at_the_centre(self) -> None:
        for kind in KINDS:
            for number, colour in enumerate(COLOURS):
                scene = still(Thing(kind, colour, "large", "plain", 0.25, -0.25))
                frame = render(scene, [0.0], (96, 96))[0]
                right = 48 + int(48 * 0.25) + (11 if kind == "ring" else 0)
                np.testing.assert_allclose(frame[36, right], PALETTE[number], atol=1)

    def test_a_size_shows_the_central_square(self) -> None:
        thing = Thing("circle", "red", "large", "plain", -0.5, 0.5)
        wide = Scene(seed=1, width=192, height=96, fps=16, seconds=2.0, background="dotted",
                     things=(thing,), events=())
        np.testing.assert_array_equal(render(wide, [0.0])[:, :, 48:144],
                                      render(wide, [0.0], (96, 96)))

    def test_kinds_differ(self) -> None:
        frames = [render(still(Thing(kind, "red", "small", "plain")), [0.0], (96, 96))
                  for kind in KINDS]
        for i, one in enumerate(frames):
            for two in frames[:i]:
                differ = np.abs(one.astype(int) - two).sum(-1) > 100
                self.assertGreater(differ.sum(), 30)

    def test_events_show(self) -> None:
        """The red area changes according to the event."""
        thing = Thing("square", "red", "small", "plain")

        def red(action: str, **more: object) -> np.ndarray:
            scene = still(thing, Event(0, action, 1.0, 3.0, **more))
            frames = render(scene, [0.0, 2.0, 4.0]).astype(int)
            return (frames[..., 0] - frames[..., 2] > 100).sum((1, 2))

        self.assertEqual(red("appears")[0], 0)
        self.assertEqual(red("disappears")[2], 0)
        self.assertGreater(red("grows")[2], 2 * red("grows")[0])
        self.assertEqual(red("changes colour", colour="blue")[2], 0)
        before, during, after = red("blinks", count=2)
        self.assertTrue(before == during == after > 0)  # shown between the two blinks
        hidden = render(still(thing, Event(0, "blinks", 1.0, 2.0, count=1)), [1.5], (96, 96))
        self.assertLess(hidden.max(), 60)

    def test_every_blink_falls_on_a_sampled_frame(self) -> None:
        for level in (2, 4):
            for scene in scenes(200, level):
                if len(scene.events) == 1 and scene.events[0].action == "blinks":
                    event = scene.events[0]
                    shown = track(scene, event.thing, sample_times(scene, 8)).opacity > 0
                    self.assertEqual(np.sum(shown[:-1] & ~shown[1:]), event.count)
                    self.assertTrue(shown[0] and shown[-1])

    def test_reversed_frames_are_equal(self) -> None:
        for scene in scenes(20, 4):
            at = 0.37 * scene.seconds
            quiet = Scene(**{**vars(scene), "noise": 0.0})
            forth = render(quiet, [at], (96, 96)).astype(int)
            back = render(reversed_scene(quiet), [quiet.seconds - at], (96, 96))
            self.assertLess(np.abs(forth - back).mean(), 0.1)


class Language(unittest.TestCase):
    def test_captions_are_parsed(self) -> None:
        rng = np.random.default_rng(5)
        for level in LEVELS:
            for scene in scenes(500, level, "any"):
                text = caption(scene, rng)
                self.assertEqual(parse_caption(text), truth(scene), text)
                self.assertEqual(parse_story(text), true_story(scene), text)

    def test_other_phrasings_are_parsed(self) -> None:
        text = ("a red circle and two blue squares. The red circle, at first, moves up and to "
                "the left")
        self.assertEqual(parse_caption(text), [("circle", "red", ("moves up left",)),
                                               ("square", "blue", ())])
        self.assertEqual(parse_caption("blurb without sense"), [])

    def test_answers_are_candidates(self) -> None:
        rng = np.random.default_rng(6)
        seen = set()
        for level in LEVELS:
            for scene in scenes(150, level, "any"):
                for qa in questions(scene, rng, 6, multiple_choice=1.0):
                    seen.add(qa.task)
                    self.assertIn(qa.answer, qa.candidates)
                    self.assertEqual(len(set(qa.candidates)), len(qa.candidates))
                    self.assertGreaterEqual(len(qa.candidates), 2)
        self.assertGreaterEqual(len(seen & set(MVBENCH_TASKS)), 10)

    def test_the_position_of_the_answer_is_uniform(self) -> None:
        rng = np.random.default_rng(7)
        places = np.zeros(4)
        for scene in scenes(400, 4, "any"):
            for qa in questions(scene, rng, 8, multiple_choice=1.0):
                if len(qa.candidates) == 4:
                    places[qa.candidates.index(qa.answer)] += 1
        self.assertLess(places.max() / places.sum(), 0.3)

    def test_option_text(self) -> None:
        rng = np.random.default_rng(8)
        for scene in scenes(20, 1):
            for qa in questions(scene, rng, 3, multiple_choice=1.0):
                text, option = best_option_text(qa)
                self.assertTrue(text.startswith(f"Question: {qa.question}\nOptions:\n(A) "))
                self.assertIn("\n" + option, text)

    def test_vocabulary_is_small(self) -> None:
        rng = np.random.default_rng(9)
        words: set[str] = set()
        for level in LEVELS:
            for scene in scenes(200, level, "any"):
                texts = [caption(scene, rng)]
                for qa in questions(scene, rng, 6):
                    texts += [qa.question, qa.answer, *(qa.candidates or ())]
                for text in texts:
                    words.update(text.lower().translate(str.maketrans("", "", ".,?")).split())
        self.assertLess(len(words), 150)


@unittest.skipUnless(shutil.which("ffmpeg"), "ffmpeg writes the clips")
class Clips(unittest.TestCase):
    def test_files(self) -> None:
        clips = list(sample_clips(3, 4, "any", (1, 2, 3, 4)))
        self.assertEqual(clips[:2], list(sample_clips(3, 2, "any", (1, 2, 3, 4))))
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder)
            write_clips(out, clips)
            self.assertEqual(read_clips(out), clips)
            self.assertEqual(len(list((out / "video").glob("*.mp4"))), 4)
            for path in (out / "json").glob("*.json"):
                for entry in json.loads(path.read_text()):
                    self.assertTrue((out / "video" / entry["video"]).exists())
                    self.assertIn(entry["answer"], entry["candidates"])


if __name__ == "__main__":
    unittest.main()
