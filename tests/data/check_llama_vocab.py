"""Generates the input of the hidden test [.llama-vocab] from a LLaMA vocabulary in GGUF format.

    python check_llama_vocab.py vocab.gguf directory
    PLLAVA_LLAMA_VOCAB=directory tokenizer_test "[.llama-vocab]"

Writes directory/tokenizer.json, the same as transformers' conversion of the SentencePiece model, and
cases.json: known ids of PLLaVA prompts, and the texts of vocab.gguf.inp with the ids of
vocab.gguf.out if these files exist.
"""

import json
import pathlib
import struct
import sys

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9

VIDEOQA = (
    "USER: <image>\n The input consists of a sequence of key frames from a video. Answer the question "
    "concisely first and followed by significant events, characters, or objects that appear throughout "
    "the frames. Question: what is a man doing? \n ASSISTANT:\nAnswer: In the video,"
)
KNOWN = [
    ("", "1"),
    ("a </s> b", "1 263 29871 2 29871 289"),
    ("a  b\n\nc", "1 263 29871 289 13 13 29883"),
    ("USER: <image>\n USER: Describe the video in details. ASSISTANT:",
     "1 3148 1001 29901 29871 32000 29871 13 3148 1001 29901 20355 915 278 4863 297 4902 29889 319 1799 "
     "9047 13566 29901"),
    ("USER: <image>\n USER: Question: What happened?\nOptions:\n(A) Sat.\n(B) Ran. \nOnly give the best "
     "option. ASSISTANT:Best option:(",
     "1 3148 1001 29901 29871 32000 29871 13 3148 1001 29901 894 29901 1724 9559 29973 13 5856 29901 13 "
     "29898 29909 29897 12178 29889 13 29898 29933 29897 22392 29889 29871 13 11730 2367 278 1900 2984 "
     "29889 319 1799 9047 13566 29901 25353 2984 5919"),
    (VIDEOQA,
     "1 3148 1001 29901 29871 32000 29871 13 450 1881 11624 310 263 5665 310 1820 16608 515 263 4863 "
     "29889 673 278 1139 3022 275 873 937 322 5643 491 7282 4959 29892 4890 29892 470 3618 393 2615 10106 "
     "278 16608 29889 894 29901 825 338 263 767 2599 29973 29871 13 319 1799 9047 13566 29901 13 22550 "
     "29901 512 278 4863 29892"),
    ("USER:<image>  USER:Hi ASSISTANT: Hello.</s>USER:Bye ASSISTANT:",
     "1 3148 1001 29901 32000 259 3148 1001 29901 18567 319 1799 9047 13566 29901 15043 29889 2 3148 1001 "
     "29901 2059 29872 319 1799 9047 13566 29901"),
]


class Gguf:
    """The key-value part of a GGUF file."""

    def __init__(self, path):
        self.data = path.read_bytes()
        self.at = 4
        _version, _tensors, count = self.unpack("IQQ")
        self.values = {}
        for _ in range(count):
            key = self.string()
            self.values[key] = self.value(self.unpack("I")[0])

    def unpack(self, kinds):
        values = struct.unpack_from("<" + kinds, self.data, self.at)
        self.at += struct.calcsize("<" + kinds)
        return values

    def string(self):
        (size,) = self.unpack("Q")
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            element, count = self.unpack("IQ")
            return [self.value(element) for _ in range(count)]
        return self.unpack(SCALARS[kind])[0]


def merges_of(scores):
    """Every pair whose concatenation is a piece, in order of decreasing score."""
    merges = []
    for piece, score in scores.items():
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        splits = [s for s in splits if s[0] in scores and s[1] in scores]
        merges += [(score, s) for s in splits]
    merges.sort(key=lambda m: -m[0])  # stable: splits of a piece stay in order of their position
    return [f"{left} {right}" for _, (left, right) in merges]


def convert(path):
    values = Gguf(path).values
    pieces = values["tokenizer.ggml.tokens"]
    types = values["tokenizer.ggml.token_type"]
    scores = dict(zip(pieces, values["tokenizer.ggml.scores"]))
    mergeable = {p: scores[p] for p, t in zip(pieces, types) if t == NORMAL}
    tokens = [(i, p) for i, (p, t) in enumerate(zip(pieces, types)) if t in (UNKNOWN, CONTROL)]
    tokens.append((len(pieces), "<image>"))
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": p, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, p in tokens],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                  "vocab": {p: i for i, p in enumerate(pieces)}, "merges": merges_of(mergeable)},
    }


def cases_of(path):
    cases = [{"text": t, "ids": list(map(int, ids.split())), "bos": True} for t, ids in KNOWN]
    texts, ids = pathlib.Path(f"{path}.inp"), pathlib.Path(f"{path}.out")
    if texts.exists() and ids.exists():
        texts = texts.read_bytes().decode("utf-8").split("\n__ggml_vocab_test__\n")
        rows = ids.read_text().split("\n")
        for text, row in zip(texts, rows):
            cases.append({"text": text, "ids": list(map(int, row.split())), "bos": False})
    return cases


def main():
    source, directory = map(pathlib.Path, sys.argv[1:3])
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (("tokenizer.json", convert(source)), ("cases.json", cases_of(source))):
        (directory / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
