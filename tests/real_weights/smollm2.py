"""Compares SmolLM2-135M-Instruct, loaded from a GGUF file, with transformers and tokenizers.

Usage: smollm2.py GGUF BUILD_DIRECTORY   (called by tests/real_weights.sh)
Needs torch, transformers,
tokenizers, gguf and numpy. Exit code 1 at the first difference.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
QUESTION, ANSWER = "What is the capital of France?", "The capital of France is Paris."
PROMPT = (f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n"
          "<|im_start|>assistant\n")
ROWS = 400
ROOT = pathlib.Path(__file__).parents[2]
# Mean Kullback-Leibler divergence from the logits in f32, in nats: about twice what was measured.
LIMITS = {"bf16": 0.0005, "int8": 0.009, "int4": 0.5, "calibrated int4": 0.18}
TEXT = """
A river begins in the hills, where rain and melting snow run together into small streams. Each stream
is too weak to move more than sand, but many of them meet, and after a day's walk there is water enough
to turn a wheel. People have built mills on such rivers for a thousand years. The miller opened a gate in
the morning, the wheel began to turn, and until the evening the stones ground wheat, rye and barley. In
dry summers the gate stayed closed, and the village ate the flour of the year before.

Further down, the river is slow and wide. Barges carry gravel, timber and grain to the city, and return
with coal, bricks and machines. A captain knows every bend: where the water is shallow, where the wind
comes from the side, and which bridge is too low after a week of rain. At night the lights of the harbour
are seen from far away. When the fog is thick, a bell rings every two minutes, and the ships wait.

The city takes its water from the river and gives it back, cleaner than it was fifty years ago. In 1970
no fish lived below the bridges; today there are 41 kinds, among them the salmon, which was last seen in
the time of our grandparents. Children swim from the stone steps in July. On the other bank stands the old
customs house, now a museum, in which a model of the first steamboat can be seen. It needed nine hours to
the sea, and a third of its cargo was the wood that it burned on the way. Nobody believed that such a
machine would replace the horses that pulled the barges, and yet twenty years later the last of these
horses was sold. The path on which they walked is still there, and on Sundays it belongs to the cyclists.
Every spring it is under water for a week or two, and then the ferryman is the only one who knows the way.
"""
TEXTS = [
    TEXT, "", " ", "  two  spaces ", "\n\n\ttabs\tand\nlines\r\n", "12345 3.14159 1,000,000 0x7fff",
    "don't you'll they're it's I'd we've DON'T", "def f(x):\n    return x ** 2  # square\n",
    "naïve café Zürich Łódź Αθήνα Москва 東京 서울 ไทย हिन्दी עברית العربية", "🙂👩‍👩‍👧🏳️‍🌈 é é ﬁ ½ ² Ⅳ ٣",
    "a<|im_end|>b<|im_start|>user", "<|endoftext|>", "<|im_end|", "x" * 300, "!?.,;:-–—()[]{}<>«»„“”",
    PROMPT]


def fail(message):
    sys.exit(f"smollm2: {message}")


def run(*command, **options):
    result = subprocess.run([str(c) for c in command], capture_output=True, check=False, **options)
    if result.returncode != 0:
        fail(f"{command[0]} exits with {result.returncode}: {result.stderr.decode()}")
    return result.stdout


def random_texts(count):
    """Random characters of several scripts, and random pieces of the text."""
    chars = random.Random(1)
    pools = ["abcdefghij ABC", " \n\t'sdlmrtve", "0123456789 .,", "äöüßñçéèêø ", "абвгдежз и", "日本語中文字 ",
             "🙂🚀🎉 \u200d\ufe0f", "!@#$%^&*()_+-= "]
    texts = []
    for _ in range(count):
        pool = "".join(chars.choices(pools, k=2))
        texts.append("".join(chars.choices(pool, k=chars.randint(1, 40))))
        begin = chars.randrange(len(TEXT))
        texts.append(TEXT[begin:begin + chars.randint(1, 60)])
    return texts


def check_tokens(reader, gguf, build):
    """Ids and the chat template against the package tokenizers, built from the file's lists."""
    def value(key):
        return reader.fields[f"tokenizer.{key}"].contents()
    tokens, types = value("ggml.tokens"), value("ggml.token_type")
    merges = [tuple(m.split(" ")) for m in value("ggml.merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, types) if kind == 3])
    texts = TEXTS + random_texts(1500)
    rows = run(build / "real_weights" / "token_ids", gguf, input="".join(t + "\0" for t in texts).encode()).decode()
    for text, row in zip(texts, rows.split("\n"), strict=False):
        expected = tokenizer.encode(text).ids
        if list(map(int, row.split())) != expected:
            fail(f"ids of {text!r} are {row}, not {expected}")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.chat_template = value("chat_template")
    rendered = fast.apply_chat_template([{"role": "user", "content": QUESTION}], tokenize=False,
                                        add_generation_prompt=True)
    if rendered != PROMPT:
        fail(f"the chat template gives {rendered!r}")
    print(f"token ids: {len(texts)} texts equal tokenizers, and the chat template gives the prompt")
    return tokenizer.encode(TEXT).ids[:ROWS], fast


def divergence(reference, logits):
    """Mean over rows, in nats."""
    p = torch.log_softmax(torch.from_numpy(reference).double(), dim=-1)
    q = torch.log_softmax(torch.from_numpy(logits).double(), dim=-1)
    return float((p.exp() * (p - q)).sum(dim=-1).mean())


def check_logits(gguf, build, ids, fast):
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        np.array(ids, np.int32).tofile(directory / "ids")

        def logits(source, kind):
            run(build / "real_weights" / "text_logits", source, directory / "ids", directory / "logits", kind)
            return np.fromfile(directory / "logits", np.float32).reshape(len(ids) + 1, -1)
        ours = logits(gguf, "f32")
        scale = np.abs(expected).max()
        for name, rows, right in (("decode", ours[:-1], expected), ("prefill", ours[-1:], expected[-1:])):
            distance = np.abs(rows - right).max() / scale
            print(f"logits in f32, {name}: largest difference {distance:.1e} of the largest logit")
            if not distance < 1e-4:
                fail("the logits differ from those of transformers")
        del model.config.quantization_config  # the weights are f32 now
        plain = AutoModelForCausalLM.from_config(model.config)
        plain.load_state_dict(model.state_dict())
        plain.save_pretrained(directory / "safetensors")
        for kind in ("f32", "bf16"):
            direct = logits(gguf, kind)
            if not np.array_equal(direct, logits(directory / "safetensors", kind)):
                fail(f"GGUF and safetensors give different logits in {kind}")
        print("logits of the GGUF file and of a safetensors directory are equal, in f32 and bf16")
        fast.save_pretrained(directory / "safetensors")
        texts = [str(page) for page in sorted((ROOT / "docs").glob("*.md"))]
        run(build / "pllava", "quantize", directory / "safetensors", "--dtype", "int4", "--calibrate", *texts, "--out",
            directory / "calibrated", "--quiet")
        for kind, limit in LIMITS.items():
            calibrated = kind.startswith("calibrated")
            mean = divergence(expected, logits(directory / "calibrated" if calibrated else gguf,
                                               "bf16" if calibrated else kind)[:-1])
            print(f"mean KL divergence of {kind}: {mean:.1e} nats (limit {limit})")
            if not mean < limit:
                fail(f"{kind} is too far from f32")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    args = parser.parse_args()
    answer = run(args.build / "examples" / "text_only", args.gguf, QUESTION, SYSTEM).decode().strip()
    print(f"> {QUESTION}\n{answer}")
    if answer != ANSWER:
        fail(f"the answer is not {ANSWER!r}")
    ids, fast = check_tokens(GGUFReader(args.gguf), args.gguf, args.build)
    if len(ids) != ROWS:
        fail(f"the text has only {len(ids)} tokens")
    check_logits(args.gguf, args.build, ids, fast)


main()
