"""Generates tests/data/tokenizer: small tokenizers, and their results in the packages `tokenizers` and
`sentencepiece`.

    python make_tokenizer_goldens.py train     # writes the tokenizers (once)
    python make_tokenizer_goldens.py           # writes goldens.json and the *.hashes

Generated with tokenizers 0.22.1; 0.15.2 gives the same goldens except for "metaspace" (which uses a key
that it does not support). The random strings are generated with SplitMix64, as in the C++ test, so the
repository stores only two 32-bit hashes per string (FNV-1a, little endian).
"""

import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).parent / "tokenizer"
MASK = (1 << 64) - 1
STRINGS = {"tokenizer": 10000, "yi": 1000, "metaspace": 1000}
BYTES_BEGIN = 3  # id of <0x00>

CORPUS = """
A cat sits on a chair and watches the rain. The man in the red coat opens the door, looks at the
camera, and waves. What is the woman doing? She is cooking: first she cuts the onions, then she puts
them into the pan. How many people are in the video? There are three people and one dog in the video.
USER: Describe the video in detail. ASSISTANT: The video shows a street in the evening; cars pass by
and a child holds a yellow balloon. Question: What happened before the ball fell? Options: (A) The
girl jumped. (B) The boy threw it. (C) Nothing happened. Only give the best option. Best option: (B)
Answer: In the video, somebody is playing the guitar while another person is dancing in the kitchen.
Which of these actions is shown in the clip? The person is picking up the phone, putting it on the
table, and walking away. At 12:30 the train arrives; 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 doors open at once.
Der Hund läuft über die Straße. Le garçon mange une pomme près de la fenêtre. El niño corre rápido.
Кот спит на окне, а дождь идёт. 猫が窓の外を見ている。视频里有一个人在做饭。
for (int i = 0; i < 10; ++i) { total += frame[i] * 2; }   // a loop
""".strip()

FRAGMENTS = [
    "the ", " video", "What is", " happening", "USER: ", "ASSISTANT:", "Best option:(", "<image>", "</s>",
    "<s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<|tool|>", "<im", "age>", "<0x0A>", "▁",
    "▁the", " ", "  ", "    ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "🙂", "👩‍👩‍👧", "🏳️‍🌈",
    "视频", "猫が", "дождь", "für", "e\u0301", "\u0301", "a\u0308\u0323", "한국어", "العربية", "\u200d", "\ufeff",
    "\U0010ffff", "\x00", "\x7f", "0123456789", "....", "it's", "(A)", "aaaaaaaa", "ethethethe", "",
]

EXPLICIT = [
    "", " ", "  ", "a", " a", "a ", "the video", "The man opens the door.", "a  b\n\nc", "\n", "\n\n\n", "\t",
    "<image>", "<image><image>", "<image>\n", "USER: <image>\n USER: What happened? ASSISTANT:",
    "USER:<image>  USER:Hi ASSISTANT: Hello.</s>USER:Bye ASSISTANT:", "a </s> b", "<s>", "<s>a", "<unk>",
    "<unk> x", "<imag", "<image", "image>", "<<image>>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "x <|pad|> y", "x \n\u00a0<|pad|>\u3000\t y", " <|pad|> <|pad|> ", "x <|tool|> y", "<|tool|>", "▁", "▁a", "a▁b",
    "🙂", "🙂🙂 ok", "视频里有一个人", "e\u0301", "\u0000\u0001", "<0x0A>", "für Straße", "    four",
    "Answer: In the video,", "Best option:(", "(A) Sat.\n(B) Ran. \nOnly give the best option.",
]


class SplitMix64:
    def __init__(self, seed):
        self.state = seed & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return self.next() % n


def random_text(rng, fragments=FRAGMENTS):
    """Up to 24 pieces: mostly fragments, otherwise a random printable, control, or Unicode character."""
    text = ""
    for _ in range(rng.below(24)):
        kind = rng.below(8)
        if kind < 5:
            text += fragments[rng.below(len(fragments))]
        elif kind == 5:
            text += chr(32 + rng.below(95))
        elif kind == 6:
            text += chr(rng.below(32))
        else:
            code = rng.below(0x110000 - 0x800)
            text += chr(code if code < 0xD800 else code + 0x800)
    return text


def random_ids(rng, size):
    """Up to 24 ids, half of them byte tokens, so that broken UTF-8 occurs."""
    ids = []
    for _ in range(rng.below(24)):
        if rng.below(2) == 0:
            ids.append(BYTES_BEGIN + rng.below(256))
        else:
            ids.append(rng.below(size))
    return ids


def fnv1a(data):
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def added(id, content, special=True, normalized=False, strip=False):
    return {"id": id, "content": content, "single_word": False, "lstrip": strip, "rstrip": strip,
            "normalized": normalized, "special": special}


def train():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    lines = CORPUS.splitlines()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=900, show_progress=False))
    trained = json.loads(tokenizer.to_str())["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in trained["merges"]]
    alphabet = sorted({c for token in trained["vocab"] for c in token})
    merges = [["▁", "▁"], ["▁▁", "▁▁"]] + merges  # runs of spaces, as in LLaMA

    def model(first, merges):
        tokens = first + [f"<0x{b:02X}>" for b in range(256)]
        tokens += [a + b for a, b in merges] + alphabet
        vocab = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
        return {"type": "BPE", "dropout": None, "unk_token": first[0], "continuing_subword_prefix": None,
                "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "vocab": vocab,
                "merges": [" ".join(m) for m in merges]}

    sequence = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    decoder = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    bos = {"type": "TemplateProcessing",
           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    base = {"version": "1.0", "truncation": None, "padding": None}
    llama = ["<unk>", "<s>", "</s>"]

    def write(name, model, tokens, normalizer, pre_tokenizer, post_processor):
        size = len(model["vocab"])
        tokens = [t | {"id": t["id"] if t["id"] >= 0 else size - 1 - t["id"]} for t in tokens]
        file = base | {"added_tokens": tokens, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
                       "post_processor": post_processor, "decoder": decoder, "model": model}
        text = json.dumps(file, ensure_ascii=False, separators=(",", ":"))
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    specials = [added(i, t) for i, t in enumerate(llama)]
    write("tokenizer", model(llama, merges),  # negative ids are assigned after the vocabulary
          specials + [added(-1, "<image>"), added(-2, "<|im_start|>", special=False)], sequence, None, bos)
    yi = ["<unk>", "<|startoftext|>", "<|endoftext|>"]
    write("yi", model(yi, merges[:200]),
          [added(0, "<unk>"), added(-1, "<|im_start|>", special=False), added(-2, "<|im_end|>"),
           added(-3, "<|pad|>", strip=True), added(-4, "<|tool|>", special=False, normalized=True),
           added(-5, "<image>")], sequence, None, None)
    split = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    write("metaspace", model(llama, merges[:100]), specials + [added(-1, "<image>")], None, split, bos)


def train_sentencepiece():
    import sentencepiece

    directory = HERE / "sentencepiece"
    directory.mkdir(exist_ok=True)
    with open(directory / "tokenizer.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS.splitlines()), model_writer=file, model_type="bpe", vocab_size=600,
            character_coverage=1.0, byte_fallback=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False, split_digits=True, user_defined_symbols=["<|tool|>"],
            allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2)
    (directory / "added_tokens.json").write_text(json.dumps({"<image>": 600}) + "\n")
    (directory / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True}) + "\n")


def main_sentencepiece():
    """One hash per string, of the ids with BOS; 0 for strings with tokens that sentencepiece does not have or
    encodes as text."""
    import sentencepiece

    directory = HERE / "sentencepiece"
    processor = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    hashes = b""
    for i in range(2000):
        text = random_text(SplitMix64(i))
        if any(token in text for token in ("<unk>", "<s>", "</s>", "<image>", "<|tool|>")):
            hashes += struct.pack("<I", 0)
            continue
        ids = processor.encode(text, add_bos=True)
        hashes += struct.pack("<I", fnv1a(struct.pack(f"<{len(ids)}I", *ids)))
    (directory / "ids.hashes").write_bytes(hashes)


def main():
    from tokenizers import Tokenizer

    goldens = {"fragments": FRAGMENTS, "explicit": {}}
    for name, count in STRINGS.items():
        tokenizer = Tokenizer.from_file(str(HERE / f"{name}.json"))
        size = tokenizer.get_vocab_size()
        rows = []
        for text in EXPLICIT:
            ids = tokenizer.encode(text).ids
            rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids),
                         "with_special": tokenizer.decode(ids, skip_special_tokens=False)})
        goldens["explicit"][name] = rows
        hashes = b""
        for i in range(count):
            rng = SplitMix64(i)
            ids = tokenizer.encode(random_text(rng)).ids
            decoded = tokenizer.decode(ids) + "\n"
            decoded += tokenizer.decode(random_ids(rng, size), skip_special_tokens=False)
            packed = struct.pack(f"<{len(ids)}I", *ids)
            hashes += struct.pack("<II", fnv1a(packed), fnv1a(decoded.encode()))
        (HERE / f"{name}.hashes").write_bytes(hashes)
    text = json.dumps(goldens, ensure_ascii=True, separators=(",", ":")).replace('{"text"', '\n{"text"')
    (HERE / "goldens.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["train"]:
        train()
        train_sentencepiece()
    else:
        main()
        main_sentencepiece()
