"""Tests of the model's files and of the packing: python -m unittest discover -s examples/demo_model"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import tokenizer
from data import IGNORE, PREFIX, Clips, Mix, block_mask, cell_truth
from export import read_directory, write_directory
from model import Config, Pllava, normalised
from render import sample_times
from train import embedded
from world import KINDS, sample_scene

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

    def test_ids_are_llamas(self) -> None:
        vocabulary = self.file["model"]["vocab"]
        self.assertEqual([vocabulary[t] for t in tokenizer.SPECIAL], [0, 1, 2])
        self.assertEqual([vocabulary[f"<0x{b:02X}>"] for b in range(256)], list(range(3, 259)))
        self.assertEqual(self.prompts.image_token, len(vocabulary))

    def test_merges_stay_inside_words(self) -> None:
        for token in self.file["model"]["vocab"]:
            if len(token) > 1 and not token.startswith("<"):
                self.assertTrue(token.removeprefix("▁").isalpha(), token)

    def test_prompt_is_cut_where_the_library_cuts(self) -> None:
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

    def test_packed_questions_read_like_single_ones(self) -> None:
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


class ModelTest(unittest.TestCase):
    def test_directory_comes_back(self) -> None:
        model = Pllava(Config(image_token=20, vocab=21))
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / "words.json").write_text("{}")
            write_directory(directory / "model", model, directory / "words.json")
            again = read_directory(directory / "model")
        for name, weight in model.state_dict().items():
            self.assertTrue(torch.equal(weight.bfloat16().float(), again.state_dict()[name]), name)

    def test_names_are_the_published_ones(self) -> None:
        names = set(Pllava().state_dict())
        layer = "language_model.base_model.model.model.layers.0.self_attn."
        for name in ("vision_tower.vision_model.embeddings.class_embedding",
                     "vision_tower.vision_model.pre_layrnorm.weight",
                     "vision_tower.vision_model.encoder.layers.4.mlp.fc2.bias",
                     "multi_modal_projector.linear_2.bias", "language_model.base_model.model.lm_head.weight",
                     f"{layer}q_proj.base_layer.weight", f"{layer}v_proj.lora_B.default.weight",
                     f"{layer}k_proj.weight"):
            self.assertIn(name, names)


class TruthTest(unittest.TestCase):
    def test_a_moving_thing_leaves_one_cell_for_another(self) -> None:
        rng = np.random.default_rng(7)
        for _ in range(20):
            scene = sample_scene(rng, 1)
            truth = cell_truth(scene, sample_times(scene, 8), 4)
            there = truth["kind"] != IGNORE
            self.assertTrue((there.sum(1) == 1).all())
            self.assertTrue((truth["kind"][there] == KINDS.index(scene.things[0].kind)).all())
            way = truth["motion"][there][-1, 2:4]
            self.assertEqual(bool(np.abs(way).max() > 0.2), bool(scene.events))


if __name__ == "__main__":
    unittest.main()
