"""Trains the demo model's tokenizer.json: LLaMA's rules with a vocabulary learned from captions of world.py.

    python tokenizer.py --output weights/tokenizer.json

Byte-pair merges stay inside words: no merge joins a word with the following space or punctuation, so the
tokens of a text do not depend on its context.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import language
import world

VOCABULARY = 768  # including <image>, which is the last
SPECIAL = ("<unk>", "<s>", "</s>")
BOS, EOS = 1, 2
IMAGE = "<image>"
BENCHMARK_SYSTEM = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement "
    "of objects, and the action and pose of persons. Based on your observations, select the best option that "
    "accurately addresses the question.\n")


def corpus(scenes: int, seed: int = 0) -> list[str]:
    """Captions, questions and prompts in the format of the model's input."""
    rng = np.random.default_rng(seed)
    texts = []
    for i in range(scenes):
        scene = world.sample_scene(rng, i % 5)
        texts.append(language.caption(scene, rng))
        for qa in language.questions(scene, rng, 6):
            text = language.best_option_text(qa)[0] if qa.candidates else qa.question
            texts += [f"USER: {text} \nOnly give the best option. ASSISTANT:Best option:(", qa.answer]
    prompt = f"{BENCHMARK_SYSTEM} USER: Describe the video in details. ASSISTANT:"
    return texts + [prompt] * (scenes // 10)


def added(token: str, index: int) -> dict:
    return {"id": index, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True}


def learn(texts: list[str], size: int = VOCABULARY) -> dict:
    """tokenizer.json as a dictionary."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(),
        pre_tokenizers.Split("\n", "isolated")])
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2 * size, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in learned["merges"]]
    letters = sorted({c for token in learned["vocab"] for c in token if c != "\n"})
    first = [*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), *letters]
    merges = merges[:size - 1 - len(first)]
    vocabulary = {token: i for i, token in enumerate([*first, *(a + b for a, b in merges)])}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [*(added(t, i) for i, t in enumerate(SPECIAL)), added(IMAGE, len(vocabulary))],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": SPECIAL[0], "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "vocab": vocabulary,
                  "merges": [" ".join(m) for m in merges]},
    }


class Prompts:
    """Prompts and answers as ids, with the same boundaries as in `pllava`."""

    def __init__(self, path: pathlib.Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.image_token = self.tokenizer.token_to_id(IMAGE)
        self.before = self.tokenizer.encode("USER:").ids
        self.before_benchmark = self.tokenizer.encode(f"{BENCHMARK_SYSTEM} USER: ").ids

    def question(self, text: str) -> list[int]:
        """The ids after the video in the template "plain"."""
        return self._ids(f" {text} ASSISTANT:")

    def benchmark_question(self, text: str) -> list[int]:
        """The ids after the video in the task "mvbench"; the answer follows an opening parenthesis."""
        return self._ids(f"\n USER: {text} \nOnly give the best option. ASSISTANT:Best option:(")

    def answer(self, text: str, opened: bool = False) -> list[int]:
        """The ids of an answer; `opened` if the prompt ends with "("."""
        whole = self._ids(f"({text}" if opened else f": {text}")
        return [*whole[len(self._ids("(" if opened else ":")):], EOS]

    def text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids).strip()

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="file to write")
    parser.add_argument("--scenes", type=int, default=4000, help="number of scenes in the corpus (default 4000)")
    options = parser.parse_args()
    file = learn(corpus(options.scenes))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(file, ensure_ascii=False, separators=(",", ":"))
    options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
