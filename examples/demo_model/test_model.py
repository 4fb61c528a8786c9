"""Tests of the model, its files and the packing: python -m unittest discover -s examples/demo_model"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import plot
import tokenizer
from answers import TEMPLATES, first_ids, greedy, video_rows
from clips import sample_clips
from data import IGNORE, PREFIX, Clips, Mix, Packer, block_mask, cell_truth
from export import config_from_json, config_json, read_directory, write_directory
from language import ask, label, true_story
from model import Config, Pllava, normalised
from muon import Muon, orthogonal
from render import sample_times
from train import Stage, embedded, losses
from variants import PICTURES, VARIANTS, stage_of, varied
from world import ACTIONS, COLOURS, DIRECTIONS, KINDS, Event, sample_scene

WORDS = ("Describe the video in details.", "What moves?\nOptions:\n(A) the red star\n(B) nothing")


class TokenizerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.directory.name) / "tokenizer.json"
        cls.file = tokenizer.learn(tokenizer.corpus(500))
        cls.path.write_text(json.dumps(cls.file, ensure_ascii=False), encoding="utf-8")
        cls.prompts = tokenizer.Prompts(cls.path)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.directory.cleanup()

    def test_special_ids_match_llama(self) -> None:
        vocabulary = self.file["model"]["vocab"]
        self.assertEqual([vocabulary[t] for t in tokenizer.SPECIAL], [0, 1, 2])
        self.assertEqual([vocabulary[f"<0x{b:02X}>"] for b in range(256)], list(range(3, 259)))
        self.assertEqual(self.prompts.image_token, len(vocabulary))

    def test_merges_stay_inside_words(self) -> None:
        for token in self.file["model"]["vocab"]:
            if len(token) > 1 and not token.startswith("<"):
                self.assertTrue(token.removeprefix("▁").isalpha(), token)

    def test_prompt_boundaries_match_the_library(self) -> None:
        encode = self.prompts.tokenizer.encode
        for text in WORDS:
            whole = encode(f"USER:<image> {text} ASSISTANT: A (red) star.").ids
            ids = [*self.prompts.before, self.prompts.image_token, *self.prompts.question(text),
                   *self.prompts.answer("A (red) star.")]
            self.assertEqual(ids, [*whole, tokenizer.EOS])
            whole = encode(f"{tokenizer.BENCHMARK_SYSTEM} USER: <image>\n USER: {text} \nOnly give the best option."
                           " ASSISTANT:Best option:(A) red").ids
            ids = [*self.prompts.before_benchmark, self.prompts.image_token,
                   *self.prompts.benchmark_question(text), *self.prompts.answer("A) red", opened=True)]
            self.assertEqual(ids, [*whole, tokenizer.EOS])

    def test_packed_questions_match_single_questions(self) -> None:
        torch.manual_seed(0)
        model = Pllava(Config(layers=2)).eval()
        batch = Clips(model.config, self.prompts, Mix({1: 1.0}, benchmark=0), 2, 3).make(1, np.random.default_rng(4))
        with torch.no_grad():
            video = model.pooled(model.features(normalised(batch["frames"])))
            x = embedded(model, batch["ids"], video)
            mask = block_mask(batch["segments"], batch["prefix"])
            packed = model.llama.states(x, batch["positions"], mask, batch["prefix"])[-1][0]
            for segment in range(1, int(batch["segments"][0].max()) + 1):
                mine = batch["segments"][0] == segment
                kept = (batch["segments"][0] == PREFIX) | mine
                n = int(kept.sum())
                alone = model.llama.states(x[:1, kept], torch.arange(n)[None], prefix=n)[-1][0]
                torch.testing.assert_close(alone[-int(mine.sum()):], packed[mine], rtol=1e-3, atol=1e-3)

    def test_first_template_matches_mvbench(self) -> None:
        before, after = TEMPLATES[0].ids(self.prompts, WORDS[1])
        self.assertEqual(before, self.prompts.before_benchmark)
        self.assertEqual(after, self.prompts.benchmark_question(WORDS[1]))

    def test_first_ids_match_greedy_answers(self) -> None:
        torch.manual_seed(0)
        model = Pllava(Config(layers=2)).eval()
        clips = list(sample_clips(5, 2, "train", (2,)))
        video = video_rows(model, clips)
        asked = [self.prompts.question(text) for text in WORDS]
        for number in range(len(clips)):
            ids = first_ids(model, video[number:number + 1], self.prompts.before, asked)
            told = [greedy(model, video, self.prompts.before, after, limit=1)[number] for after in asked]
            self.assertEqual(ids, [answer.ids[0] for answer in told])

    def test_variants_train_on_answers_only(self) -> None:
        model = Pllava(Config(layers=2))
        for variant in (PICTURES, *VARIANTS):
            stage: Stage = stage_of(variant)
            other = varied(model, variant)
            batch = Clips(other.config, self.prompts, stage.mix, 2, 3).make(0, np.random.default_rng(4))
            self.assertEqual(batch["frames"].shape[1], variant.frames)
            with torch.no_grad():
                parts, _, _ = losses(other, None, batch, normalised(batch["frames"]), False)
            self.assertEqual(list(parts), ["answers"])


class ModelTest(unittest.TestCase):
    def test_directory_round_trip(self) -> None:
        model = Pllava(Config(image_token=20, vocab=21))
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / "words.json").write_text("{}")
            write_directory(directory / "model", model, directory / "words.json")
            again = read_directory(directory / "model")
        for name, weight in model.state_dict().items():
            self.assertTrue(torch.equal(weight.bfloat16().float(), again.state_dict()[name]), name)

    def test_directory_round_trip_with_other_sizes(self) -> None:
        config = Config(image=48, patch=16, vision_width=48, vision_layers=3, vision_heads=2, vision_ffn=64,
                        feature_layer=-1, frames=4, pool=(2, 3, 1), vocab=31, image_token=30, width=32,
                        layers=3, heads=4, kv_heads=1, ffn=48, rope_theta=500.0, rms_eps=1e-6, lora_rank=3)
        model = Pllava(config)
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / "words.json").write_text("{}")
            write_directory(directory / "model", model, directory / "words.json")
            again = read_directory(directory / "model")
            self.assertEqual(again.config, config)
            for name, weight in model.state_dict().items():
                self.assertTrue(torch.equal(weight.bfloat16().float(), again.state_dict()[name]), name)
            self._change(directory / "model" / "config.json", pooling_method="max")
            with self.assertRaisesRegex(ValueError, "pooling_method"):
                read_directory(directory / "model")

    @staticmethod
    def _change(path: pathlib.Path, **values: object) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    def test_unsupported_config_is_rejected(self) -> None:
        good = config_json(Config())
        self.assertEqual(config_from_json(good, 16), Config())
        without = {name: value for name, value in good.items() if name != "text_config"}
        silent = {name: value for name, value in good.items() if name != "use_pooling"}
        text = good["text_config"]
        for bad in (without, silent, good | {"extra": 1}, good | {"pooling_shape": 4},
                    good | {"vocab_size": 700}, good | {"text_config": text | {"rope_scaling": None}}, good | {"text_config": 1},
                    good | {"vision_config": good["vision_config"] | {"patch_size": 0}}):
            with self.assertRaises(ValueError):
                config_from_json(bad, 16)

    def test_variants_have_the_same_number_of_rows(self) -> None:
        model = Pllava(Config(layers=1, vision_layers=2)).eval()
        patches = torch.randn(1, 8, model.config.grid**2, model.config.vision_width)
        for variant in VARIANTS:
            other = varied(model, variant)
            self.assertEqual(other.config.rows, 128)
            with torch.no_grad():
                rows = other.pooled(patches[:, :variant.frames])
                grid = model.multi_modal_projector(patches[:, :variant.frames])[0].unflatten(1, (8, 8))
            self.assertEqual(rows.shape, (1, 128, model.config.width))
            t, h, w = variant.pool
            cells = grid.unflatten(2, (w, -1)).unflatten(1, (h, -1)).unflatten(0, (t, -1))
            torch.testing.assert_close(rows[0], cells.mean((1, 3, 5)).flatten(0, 2))

    def test_tensor_names_match_the_published_layout(self) -> None:
        names = set(Pllava().state_dict())
        layer = "language_model.base_model.model.model.layers.0.self_attn."
        for name in ("vision_tower.vision_model.embeddings.class_embedding",
                     "vision_tower.vision_model.pre_layrnorm.weight",
                     "vision_tower.vision_model.encoder.layers.4.mlp.fc2.bias",
                     "multi_modal_projector.linear_2.bias", "language_model.base_model.model.lm_head.weight",
                     f"{layer}q_proj.base_layer.weight", f"{layer}v_proj.lora_B.default.weight",
                     f"{layer}k_proj.weight"):
            self.assertIn(name, names)


class MuonTest(unittest.TestCase):
    SHAPES = ((8, 8), (8, 20), (20, 8), (8, 8))

    @staticmethod
    def _stepped(values: list[torch.Tensor], make, steps: int = 3) -> list[torch.Tensor]:
        """The values after `steps` steps with seeded gradients."""
        generator = torch.Generator().manual_seed(5)
        parameters = [v.clone().requires_grad_() for v in values]
        optimiser = make(parameters)
        for _ in range(steps):
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=generator)
            optimiser.step()
        return [p.detach() for p in parameters]

    def setUp(self) -> None:
        self.values = [torch.randn(shape, generator=torch.Generator().manual_seed(6)) for shape in self.SHAPES]

    def test_singular_values_are_near_one(self) -> None:
        generator = torch.Generator().manual_seed(7)
        for shape in ((8, 20), (20, 8)):  # square matrices have some that are too close to 0
            values = torch.linalg.svdvals(orthogonal(torch.randn((3, *shape), generator=generator)))
            self.assertGreater(values.min(), 0.5)
            self.assertLess(values.max(), 1.3)

    def test_steps_match_pytorch(self) -> None:
        ours = self._stepped(self.values, lambda p: Muon([{"params": p, "lr": 0.01}]))
        theirs = self._stepped(self.values, lambda p: torch.optim.Muon(
            [{"params": p}], lr=0.01, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a, b, atol=1e-3, rtol=0)  # PyTorch multiplies in bf16

    def test_a_team_shares_the_work(self) -> None:
        def moved(rank: int, size: int) -> list[torch.Tensor]:
            after = self._stepped(self.values, lambda p: Muon([{"params": p, "lr": 0.01}], rank, size, weight_decay=0), 1)
            return [a - b for a, b in zip(after, self.values)]

        with unittest.mock.patch("torch.distributed.all_reduce"):  # so that each process does only its part
            parts = [moved(rank, 3) for rank in range(3)]
        for whole, *shares in zip(moved(0, 1), *parts):
            self.assertEqual(sum(bool(share.any()) for share in shares), 1)
            torch.testing.assert_close(sum(shares), whole)


class PlotTest(unittest.TestCase):
    @staticmethod
    def _count(charts: list[plot.Lines | plot.Bars], tag: str) -> int:
        tree = xml.etree.ElementTree.fromstring(plot.svg(charts))
        return sum(part.tag == "{http://www.w3.org/2000/svg}" + tag for part in tree.iter())

    def test_charts_are_valid_xml(self) -> None:
        points = {"<one>": [(0.5, 1), (2, 3)], "two": [(1, 0), (70, 0.1)]}
        lines = plot.Lines("a < b & \"c\"", "x", "y", points)
        powers = plot.Lines("powers", "x", "y", {"one": [(0.2, 1), (300, 2)]}, (0.1, 1000), x_powers=True)
        bars = plot.Bars("bars", "%", ["a & b", "c"], {"one": [1.0, 2.5], "two": [float("nan"), 0.0]})
        self.assertEqual(self._count([lines, powers, bars], "g"), 3)
        self.assertEqual(self._count([lines, powers], "polyline"), 3)
        self.assertEqual(self._count([bars], "rect"), 2 + 3)  # two in the legend; no bar for NaN

    def test_charts_without_values_are_drawn(self) -> None:
        empty = [plot.Lines("none", "x", "y", {}), plot.Bars("none", "y", [], {})]
        self.assertEqual(self._count(empty, "g"), 2)
        self.assertEqual(self._count([plot.Bars("zero", "y", ["a"], {"one": [0.0]})], "g"), 1)

    def test_axes_contain_their_values(self) -> None:
        for values in ([0, 1], [0, 7.3], [0, 99.9], [-3, 12], [0, 0.004], [5, 5]):
            axis = plot.Axis.of(values, 0, 100)
            self.assertLessEqual(axis.low, min(values))
            self.assertGreaterEqual(axis.high, max(values))
            self.assertIn(len(axis.ticks()), range(3, 13))


class TruthTest(unittest.TestCase):
    def test_only_names_are_misread(self) -> None:
        prompts = tokenizer.Prompts(pathlib.Path(__file__).parent / "weights" / "tokenizer.json")
        packer = Packer(prompts, Config())
        rng = np.random.default_rng(6)
        names = mistaken = 0
        for _ in range(60):
            row = packer.row(sample_scene(rng, 4), 4, False, 128, rng)
            for token, wanted in zip(row.ids, row.labels):
                if wanted in packer.names:
                    names += 1
                    mistaken += token != wanted
                    self.assertIn(token, packer.names[wanted])
                elif wanted != IGNORE:
                    self.assertEqual(token, wanted)
        self.assertGreater(mistaken / names, 0.08)  # MISREAD, minus the samples of the right name
        self.assertLess(mistaken / names, 0.18)

    def test_a_moving_thing_changes_its_cell(self) -> None:
        rng = np.random.default_rng(7)
        for _ in range(20):
            scene = sample_scene(rng, 1)
            truth = cell_truth(scene, sample_times(scene, 8), 4)
            there = truth["kind"] != IGNORE
            self.assertTrue((there.sum(1) == 1).all())
            self.assertTrue((truth["kind"][there] == KINDS.index(scene.things[0].kind)).all())
            way = truth["motion"][there][-1, 2:4]
            self.assertEqual(bool(np.abs(way).max() > 0.2), bool(scene.events))

    def test_the_last_frame_has_the_story(self) -> None:
        rng = np.random.default_rng(8)
        for _ in range(40):
            scene = sample_scene(rng, 4)
            truth = cell_truth(scene, sample_times(scene, 8), 4)
            story = []
            for action, way, colour, count, kind, thing_colour, *_ in truth["story"][-1].tolist():
                if action < len(ACTIONS):
                    event = Event(0, ACTIONS[action], 0, 1, direction=(*DIRECTIONS, None)[way], count=count or None,
                                  colour=(*COLOURS, None)[colour])
                    story.append((KINDS[kind], COLOURS[thing_colour], label(event)))
            self.assertEqual(story, true_story(scene))
            before = truth["story"][0, :, 0]  # few events have happened in the first frame
            self.assertGreater((before == len(ACTIONS)).sum(), 0)
            self.assertTrue((truth["latest"][truth["rank"] == IGNORE] == IGNORE).all())

    def test_existence_matches_the_answer(self) -> None:
        rng = np.random.default_rng(9)
        prompts = tokenizer.Prompts(pathlib.Path(__file__).parent / "weights" / "tokenizer.json")
        packer = Packer(prompts, Config())
        for _ in range(40):
            scene = sample_scene(rng, 2)
            qa = ask(scene, rng, "Object Existence")
            found = packer.exists(scene, prompts.question(qa.question))
            self.assertEqual([f for f in found if f != IGNORE], [int(qa.answer == "yes")])


if __name__ == "__main__":
    unittest.main()
