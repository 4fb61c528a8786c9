"""Generates tests/data/tokenizer/byte_level: small byte-level tokenizers with the settings of Llama 3, Qwen2,
SmolLM2 and GPT-2, and their results in the package `tokenizers`.

    python make_byte_level_goldens.py train     # writes the tokenizers (once)
    python make_byte_level_goldens.py           # writes goldens.json and the *.hashes
    python make_byte_level_goldens.py 12000     # the same with more strings than the repository stores

Generated with tokenizers 0.23.3. Other versions differ in characters that Unicode added between their versions
(see make_unicode_tables.py). Hashes and random strings are those of make_tokenizer_goldens.py.
"""

import json
import pathlib
import struct
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_tokenizer_goldens import CORPUS, SplitMix64, added, fnv1a, random_ids, random_text

HERE = pathlib.Path(__file__).parent / "tokenizer" / "byte_level"
COUNT = 1000
VOCAB = 1000

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")

FRAGMENTS = [
    "the ", " video", "What is", " happening", "it's", "I'LL", "we've", "don't", "You'RE", "'D", "'\u017f", "'S a",
    "'", "''", "'sun", "x'ts", "'l", "'Ve", "ASSISTANT:", "Best option:(", "<image>", "</s>", "<s>",
    "<|begin_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "<|pad|>",
    "<|im", "_end|>", "<caf\u00e9>", "<cafe\u0301>", " ", "  ", "    ", "\n", "\n\n", "\t", "\r\n", " \n", "\n ",
    " \t ", "\u00a0", "\u3000", "\u2028", "\u0085", "\u180e", "\u200b", "\ufeff", "\u200d", "🙂",
    "👩‍👩‍👧", "🏳️‍🌈", "视频", "猫が", "дождь", "für", "e\u0301", "\u0301", "a\u0308\u0323", "a\u0323\u0308",
    "\u1100\u1161\u11a8", "\uac00\u11a8", "한국어", "العربية", "\u0374", "\u212b", "\u0340", "\u0f73", "\u2adc",
    "\u0958", "\ufb1d", "\u09c7\u09be", "\u0345", "\U00011935\U00011930", "\U0001d15e", "²", "½", "Ⅷ", "٣", "१२३४",
    "\U00011de5", "\U00016ff5", "\U000105c0", "0", "7", "12", "2024", "0123456789", "3.14", "....", "!!!", "?!\n",
    "(A)", "--", "aaaaaaaa", "\x00", "\x7f", "\x1b[0m", "\U0010ffff", "Ġ", "Ċ", "",
]

EXPLICIT = [
    "", " ", "  ", "a", " a", "a ", "  a", "\n", "\n\n", " \n \n a", "a\n", "\t\ta", "\r\n\r\n", "it's", "IT'S", "'\u017fx",
    "we'll we'LL we'L", "12345678", "a1b22c333d4444", "x = 10;\n\n\n  y", "3.14 \u00bd \u0663", "What is this? (A)!\n\n",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|begin_of_text|>Hi<|eot_id|>", "a <|pad|> b",
    "<tool_call>x", "<caf\u00e9><cafe\u0301>", "视频里有一个人", "🙂🙂 ok", "für Straße", "e\u0301 a\u0323\u0308 \u212b",
    "\u1100\u1161\u11a8 \uac00\u11a8", "\u0000\u0001\u007f", "\u180e\u0085\u00a0 x", "Ġthe", "aaaaaaaaaaaaaaaa",
    "The man in the red coat opens the door.", "\U0001F469\u200d\U0001F469\u200d\U0001F467", "<imag", "<|im",
]


def tokens_of(first, *names):
    return [added(first + i, name, special=name not in ("<tool_call>", "<caf\u00e9>"), normalized=name == "<caf\u00e9>",
                  strip=name == "<|pad|>") for i, name in enumerate(names)]


def train():
    HERE.mkdir(exist_ok=True)

    def write(name, pre_tokenizer, first=(), last=(), change=lambda file: None, **parts):
        tokenizer = Tokenizer(models.BPE(unk_token=first[0] if first else None))
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        for key, value in parts.items():
            setattr(tokenizer, key, value)
        tokenizer.train_from_iterator(CORPUS.splitlines(), trainers.BpeTrainer(
            vocab_size=VOCAB, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(first),
            show_progress=False))
        file = json.loads(tokenizer.to_str())
        size = len(file["model"]["vocab"])
        file["added_tokens"] = tokens_of(0, *first) + tokens_of(size, *last)
        change(file)
        text = json.dumps(file, ensure_ascii=False, separators=(",", ":"))
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def sequence(*steps):
        return pre_tokenizers.Sequence(list(steps))

    def llama3(file):
        """Tokens without a merge are reached by ignore_merges alone."""
        model = file["model"]
        model["ignore_merges"] = True
        model["merges"] = [m for i, m in enumerate(model["merges"]) if i % 7 != 6]
        bos = next(t["id"] for t in file["added_tokens"] if t["content"] == "<|begin_of_text|>")
        template = {"type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
                               {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {"<|begin_of_text|>": {"id": "<|begin_of_text|>", "ids": [bos],
                                                             "tokens": ["<|begin_of_text|>"]}}}
        byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
        file["post_processor"] = {"type": "Sequence", "processors": [byte_level, template]}

    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    write("llama3", sequence(pre_tokenizers.Split(Regex(LLAMA3), "isolated"), plain),
          last=["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<image>", "<|pad|>"], change=llama3)
    write("qwen2", sequence(pre_tokenizers.Split(Regex(QWEN2), "removed", invert=True), plain),
          last=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "<caf\u00e9>", "<image>"],
          normalizer=normalizers.NFC(), post_processor=processors.ByteLevel(trim_offsets=False))
    write("smollm2", sequence(pre_tokenizers.Digits(individual_digits=True),
                              pre_tokenizers.ByteLevel(add_prefix_space=False)),
          first=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], last=["<image>"])
    write("gpt2", sequence(pre_tokenizers.Digits(individual_digits=False),
                           pre_tokenizers.ByteLevel(add_prefix_space=True)),
          last=["<|endoftext|>", "<image>", "<tool_call>", "<|pad|>"])


def main(count):
    goldens = {"fragments": FRAGMENTS, "explicit": {}}
    for path in sorted(HERE.glob("*.json")):
        if path.stem == "goldens":
            continue
        tokenizer = Tokenizer.from_file(str(path))
        size = tokenizer.get_vocab_size()
        rows = []
        for text in EXPLICIT:
            ids = tokenizer.encode(text).ids
            rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids),
                         "with_special": tokenizer.decode(ids, skip_special_tokens=False)})
        goldens["explicit"][path.stem] = rows
        hashes = b""
        for i in range(count):
            rng = SplitMix64(i)
            ids = tokenizer.encode(random_text(rng, FRAGMENTS)).ids
            decoded = tokenizer.decode(ids) + "\n"
            decoded += tokenizer.decode(random_ids(rng, size), skip_special_tokens=False)
            hashes += struct.pack("<II", fnv1a(struct.pack(f"<{len(ids)}I", *ids)), fnv1a(decoded.encode()))
        path.with_suffix(".hashes").write_bytes(hashes)
    text = json.dumps(goldens, ensure_ascii=True, separators=(",", ":")).replace('{"text"', '\n{"text"')
    (HERE / "goldens.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["train"]:
        train()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
