"""Writes GGUF files of the tiny models of tests/data, as llama.cpp's converters do:
tests/data/gguf_model/.

Usage: python make_gguf_model_goldens.py
Made with gguf 0.19.0, tokenizers 0.23.3, safetensors and numpy 2. Names of tensors come from gguf's
own tables, except those of the older converter of vision towers.

| file | from | what it exercises |
|---|---|---|
| llama.gguf | model/plain_f32 | F32, permuted rows, SentencePiece tokens with scores |
| vision.gguf | model/plain_f32 | the whole tower |
| vision_older.gguf | model/plain_f32 | ffn_up and ffn_down exchanged, one layer less |
| llama3.gguf | decoder/llama3 | BF16, factors of rotary positions |
| qwen2.gguf | decoder/qwen2 | BF16, biases, tied embeddings, byte-level tokens |
| quantized.gguf | decoder/llama3 | quantized types; quantized.safetensors has gguf's dequantization |
| tokens.json | | texts and their ids by other implementations |
"""

import json
import pathlib

import numpy as np
import torch
from gguf import GGMLQuantizationType as T, GGUFWriter, MODEL_ARCH, TokenType, get_tensor_name_map
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

DATA = pathlib.Path(__file__).parent
OUT = DATA / "gguf_model"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED = (TokenType.NORMAL, TokenType.UNKNOWN, TokenType.CONTROL,
                                          TokenType.USER_DEFINED, TokenType.UNUSED)
TEXTS = ["the cat", "there they are.", "a  b", " in the hen", "catthe<tag>the cat", "", "x", "the-zebra!",
         "hethe\nin 12", "</s>the", "it's in the\n\n  hat", "1212 121212 at12"]


def permuted(weight, heads):
    """The rows of a query or key projection, pairs of a rotary position side by side."""
    rows = weight.shape[0]
    parts = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2).reshape(weight.shape))


def as_array(tensor):
    """f32 or, for bf16, the 16 bits as gguf stores them."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint8).numpy(), T.BF16
    return tensor.float().numpy(), T.F32


# Tokenizers


def spm_vocabulary(size):
    """Tokens, scores and types of a SentencePiece BPE model without byte tokens."""
    tokens = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<tag>", 0.0, USER)]
    merged = ["th", "▁the", "the", "he", "▁t", "at", "in", "▁in", "cat", "▁cat", "en", "ca", "er", "re", "ere",
              "there", "▁a", "▁▁", "ar", "are"]
    tokens += [(piece, -float(i // 2), NORMAL) for i, piece in enumerate(merged)]  # some scores are equal
    tokens += [(c, -1000.0 - i, NORMAL) for i, c in enumerate("▁abcdefghijklmnopqrstuvwy.,!?'-")]
    tokens += [(f"<unused{i}>", 0.0, UNUSED) for i in range(len(tokens), size)]
    return tokens


def spm_encode(text, vocabulary):
    """llama.cpp's algorithm, in quadratic time."""
    ids = {piece: i for i, (piece, _, kind) in enumerate(vocabulary) if kind == NORMAL}
    special = {piece: i for i, (piece, _, kind) in enumerate(vocabulary) if kind in (CONTROL, USER, UNKNOWN)}
    out, unknown = [], False
    segments = [text]
    for piece in special:
        segments = [part for s in segments for part in
                    ([s] if s in special else sum(([p, piece] for p in s.split(piece)), [])[:-1])]
    for segment in segments:
        if segment in special:
            out.append(special[segment])
            continue
        if not segment:
            continue
        symbols, unknown = list(("▁" + segment).replace(" ", "▁")), False
        while True:
            pairs = [(-vocabulary[ids[a + b]][1], i) for i, (a, b) in enumerate(zip(symbols, symbols[1:]))
                     if a + b in ids]
            if not pairs:
                break
            _, i = min(pairs)
            symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]
        for symbol in symbols:
            if symbol in ids or not unknown:
                out.append(ids.get(symbol, 0))
            unknown = symbol not in ids
    return out


SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
PRE_TOKENIZERS = {  # before ByteLevel, which has GPT-2's expression
    "qwen2": pre_tokenizers.Split(Regex(SPLIT % ""), "isolated"),
    "llama-bpe": pre_tokenizers.Split(Regex(SPLIT % "{1,3}"), "isolated"),
    "smollm": pre_tokenizers.Digits(individual_digits=True),
    "gpt-2": None}


def bpe_vocabulary(size):
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "t"), ("i", "n"), ("Ġ", "in"), ("c", "at"), ("Ġ", "c"),
              ("Ġc", "at"), ("Ċ", "Ċ"), ("Ġ", "Ġ"), ("'", "s"), ("1", "2"), ("12", "1"), ("r", "e"), ("e", "re")]
    tokens = list("abcdefghijklmnopqrstuvwxyz.!-'ĠĊ12") + ["".join(m) for m in merges]
    tokens += ["<tag>", "</s>"]
    types = [NORMAL] * (len(tokens) - 2) + [USER, CONTROL]
    types += [UNUSED] * (size - len(tokens))
    tokens += [f"[PAD{i}]" for i in range(len(tokens), size)]
    return tokens, types, merges


def bpe_encode(text, tokens, merges, pre):
    """The package tokenizers."""
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, ignore_merges=pre == "llama-bpe"))
    first = PRE_TOKENIZERS[pre]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre in ("smollm", "gpt-2"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, level]) if first else level
    tokenizer.add_tokens(["<tag>"])
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer.encode(text).ids


def add_spm(writer, size):
    vocabulary = spm_vocabulary(size)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([t for t, _, _ in vocabulary])
    writer.add_token_scores([s for _, s, _ in vocabulary])
    writer.add_token_types([k for _, _, k in vocabulary])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template("{{ messages }}")
    return vocabulary


def add_bpe(writer, size):
    tokens, types, merges = bpe_vocabulary(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(m) for m in merges])
    writer.add_eos_token_id(2)
    return tokens, merges


# Models


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def text_writer(name, arch, config):
    writer = GGUFWriter(OUT / name, arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config.get("num_key_value_heads", config["num_attention_heads"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    rope = config.get("rope_parameters", {})
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
    head = config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(head)
    if rope.get("rope_type") == "llama3":
        frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, head, 2, dtype=np.float64) / head)
        waves = rope["original_max_position_embeddings"] * frequencies / (2 * np.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        kept = np.clip((waves - low) / (high - low), 0, 1)
        writer.add_tensor("rope_freqs.weight", (1 / ((1 - kept) / rope["factor"] + kept)).astype(np.float32))
    return writer


def text_tensors(weights, arch, config):
    """GGUF name -> tensor. `weights` have the names of a text-only checkpoint."""
    names = get_tensor_name_map(arch, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    for name, tensor in weights.items():
        data, kind = as_array(tensor)
        if arch == MODEL_ARCH.LLAMA and ".q_proj." in name:
            data = permuted(data, heads)
        if arch == MODEL_ARCH.LLAMA and ".k_proj." in name:
            data = permuted(data, config.get("num_key_value_heads", heads))
        yield names.get_name(name, try_suffixes=(".weight", ".bias")), data, kind


def write_llama():
    source = DATA / "model" / "plain_f32"
    config = json.loads((source / "config.json").read_text())["text_config"]
    config = {"hidden_act": "silu", **config}
    weights = load_file(source / "model.safetensors")
    prefix = "language_model."
    text = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    writer = text_writer("llama.gguf", "llama", config)
    for name, data, kind in text_tensors(text, MODEL_ARCH.LLAMA, config):
        writer.add_tensor(name, data, raw_dtype=kind)
    vocabulary = add_spm(writer, config["vocab_size"])
    finish(writer)
    return vocabulary


def older_name(name):
    for prefix, new in (("vision_tower.vision_model.", "v."), ("multi_modal_projector.linear_1", "mm.0"),
                        ("multi_modal_projector.linear_2", "mm.2")):
        name = name.replace(prefix, new)
    for part, new in (("encoder.layers", "blk"), ("embeddings.", ""), ("embedding", "embd"), ("_proj", ""),
                      ("self_attn.", "attn_"), ("layer_norm", "ln"), ("layernorm", "ln"), ("layrnorm", "ln"),
                      ("mlp.fc1", "ffn_down"), ("mlp.fc2", "ffn_up")):
        name = name.replace(part, new)
    return name


def write_vision(name, older):
    source = DATA / "model" / "plain_f32"
    config = json.loads((source / "config.json").read_text())["vision_config"]
    preprocess = json.loads((source / "preprocessor_config.json").read_text())
    layers = config["num_hidden_layers"] - older
    writer = GGUFWriter(OUT / name, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    if older:
        writer.add_bool("clip.has_text_encoder", False)
        writer.add_bool("clip.has_llava_projector", True)
    else:
        writer.add_type("mmproj")
        writer.add_string("clip.projector_type", "mlp")
    writer.add_uint32("clip.vision.image_size", config["image_size"])
    writer.add_uint32("clip.vision.patch_size", config["patch_size"])
    writer.add_uint32("clip.vision.embedding_length", config["hidden_size"])
    writer.add_uint32("clip.vision.feed_forward_length", config["intermediate_size"])
    writer.add_uint32("clip.vision.projection_dim", config["projection_dim"])
    writer.add_uint32("clip.vision.attention.head_count", config["num_attention_heads"])
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_uint32("clip.vision.block_count", layers)
    writer.add_array("clip.vision.image_mean", preprocess["image_mean"])
    writer.add_array("clip.vision.image_std", preprocess["image_std"])
    writer.add_bool("clip.use_gelu", False)
    names = get_tensor_name_map(MODEL_ARCH.MMPROJ, layers)
    for key, tensor in load_file(source / "model.safetensors").items():
        if not key.startswith(("vision_tower.", "multi_modal_projector.")) or "position_ids" in key:
            continue
        if older and (f"layers.{layers}." in key or "post_layernorm" in key):
            continue
        data, kind = as_array(tensor)
        is_older = older or "multi_modal_projector" in key  # gguf's table has Pixtral's projector
        new = older_name(key) if is_older else names.get_name(key, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(new, data, raw_dtype=kind)
    finish(writer)


def write_decoder(name, arch):
    source = DATA / "decoder" / name
    config = json.loads((source / "config.json").read_text())
    writer = text_writer(f"{name}.gguf", {MODEL_ARCH.LLAMA: "llama", MODEL_ARCH.QWEN2: "qwen2"}[arch], config)
    for key, data, kind in text_tensors(load_file(source / "model.safetensors"), arch, config):
        if data.ndim == 1 or "norm" in key or key.endswith(".bias"):  # vectors are stored in F32
            data, kind = (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32), T.F32
        writer.add_tensor(key, data, raw_dtype=kind)
    result = add_bpe(writer, config["vocab_size"]) if arch == MODEL_ARCH.QWEN2 else None
    finish(writer)
    return result


def write_quantized():
    source = DATA / "decoder" / "llama3"
    config = json.loads((source / "config.json").read_text())
    writer = text_writer("quantized.gguf", "llama", config)
    kinds = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.F16]
    expected = {}
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for i, (key, tensor) in enumerate(load_file(source / "model.safetensors").items()):
        values = tensor.float().numpy()
        kind = T.F32 if values.ndim == 1 else T.F16 if values.shape[1] % 32 else kinds[i % len(kinds)]
        heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
        heads = next((n for part, n in heads.items() if part in key), 0)
        stored = permuted(values, heads) if heads else values
        data = stored.astype(np.float16) if kind == T.F16 else quantize(stored, kind)
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight",)), data, raw_dtype=kind)
        # A row is quantized by itself, so quantizing rows in order gives the same values.
        data = values.astype(np.float16) if kind == T.F16 else quantize(values, kind)
        expected[key] = dequantize(data, kind).astype(np.float32)
    finish(writer)
    save_file(expected, OUT / "quantized.safetensors")


def main():
    OUT.mkdir(exist_ok=True)
    spm = write_llama()
    write_vision("vision.gguf", older=False)
    write_vision("vision_older.gguf", older=True)
    write_decoder("llama3", MODEL_ARCH.LLAMA)
    tokens, merges = write_decoder("qwen2", MODEL_ARCH.QWEN2)
    write_quantized()
    cases = {"llama": [{"text": t, "ids": spm_encode(t, spm)} for t in TEXTS],
             **{pre: [{"text": t, "ids": bpe_encode(t, tokens, merges, pre)} for t in TEXTS]
                for pre in PRE_TOKENIZERS}}
    (OUT / "tokens.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print({f.name: f.stat().st_size for f in sorted(OUT.iterdir())})


main()
