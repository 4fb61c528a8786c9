"""Writes random weights of a size as a PLLaVA checkpoint and as the GGUF files of llama.cpp.

    python bench/peers/checkpoint.py --size 1b --out DIR --types bf16 q8_0 q4_0

Both have the same values. The language model is in bf16, q8_0 or q4_0, quantized by the package gguf; vision tower and
projector are in a separate file, in bf16 and q8_0. short.gguf has only the first layer of the language model, to
measure the vision encoder with little other work. Needs torch, safetensors and gguf.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Iterator

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from sizes import SIZES, Size

TYPES = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0,
         "q4_0": gguf.GGMLQuantizationType.Q4_0}


def config(s: Size) -> dict[str, object]:
    """config.json."""
    text = {"model_type": "llama", "hidden_act": "silu", "hidden_size": s.width, "intermediate_size": s.ffn,
            "num_hidden_layers": s.layers, "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads,
            "vocab_size": s.vocab, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "tie_word_embeddings": False}
    vision = {"model_type": "clip_vision_model", "hidden_act": "quick_gelu", "hidden_size": s.vision_width,
              "intermediate_size": s.vision_ffn, "num_hidden_layers": s.vision_layers,
              "num_attention_heads": s.vision_heads, "image_size": s.image, "patch_size": s.patch,
              "layer_norm_eps": 1e-5}
    return {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "text_config": text,
            "vision_config": vision, "num_frames": s.pool[0], "pooling_shape": list(s.pool), "pooling_method": "avg",
            "frame_shape": [s.image // s.patch] * 2, "image_token_index": s.vocab - 64,
            "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default"}


def shapes(s: Size) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in the published layout."""
    keys = s.width // s.heads * s.kv_heads
    yield "language_model.model.embed_tokens.weight", (s.vocab, s.width)
    yield "language_model.lm_head.weight", (s.vocab, s.width)
    yield "language_model.model.norm.weight", (s.width,)
    for i in range(s.layers):
        layer = f"language_model.model.layers.{i}."
        for name, shape in (("self_attn.q_proj", (s.width, s.width)), ("self_attn.k_proj", (keys, s.width)),
                            ("self_attn.v_proj", (keys, s.width)), ("self_attn.o_proj", (s.width, s.width)),
                            ("mlp.gate_proj", (s.ffn, s.width)), ("mlp.up_proj", (s.ffn, s.width)),
                            ("mlp.down_proj", (s.width, s.ffn)), ("input_layernorm", (s.width,)),
                            ("post_attention_layernorm", (s.width,))):
            yield f"{layer}{name}.weight", shape
    yield "multi_modal_projector.linear_1.weight", (s.width, s.vision_width)
    yield "multi_modal_projector.linear_2.weight", (s.width, s.width)
    yield "multi_modal_projector.linear_1.bias", (s.width,)
    yield "multi_modal_projector.linear_2.bias", (s.width,)
    w, tower = s.vision_width, "vision_tower.vision_model."
    yield f"{tower}embeddings.class_embedding", (w,)
    yield f"{tower}embeddings.patch_embedding.weight", (w, 3, s.patch, s.patch)
    yield f"{tower}embeddings.position_embedding.weight", ((s.image // s.patch) ** 2 + 1, w)
    for end in ("weight", "bias"):
        yield f"{tower}pre_layrnorm.{end}", (w,)
        yield f"{tower}post_layernorm.{end}", (w,)
    for i in range(s.vision_layers):
        layer = f"{tower}encoder.layers.{i}."
        for name, rows, columns in (*((f"self_attn.{p}_proj", w, w) for p in ("q", "k", "v", "out")),
                                    ("mlp.fc1", s.vision_ffn, w), ("mlp.fc2", w, s.vision_ffn)):
            yield f"{layer}{name}.weight", (rows, columns)
            yield f"{layer}{name}.bias", (rows,)
        for name in ("layer_norm1", "layer_norm2"):
            yield f"{layer}{name}.weight", (w,)
            yield f"{layer}{name}.bias", (w,)


def random_weights(s: Size, seed: int) -> dict[str, Tensor]:
    """bf16: matrices that preserve the scale of activations, norm weights of about 1, small biases."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(s):
        values = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            values /= shape[1] ** 0.5 if len(shape) == 2 and "embed" not in name else 50
        else:
            values = 0.02 * values + ("norm" in name and name.endswith("weight"))
        weights[name] = values.bfloat16()
    return weights


# ---- GGUF


def rotated_pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """q_proj or k_proj with the halves of each head interleaved, for the RoPE of llama.cpp."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def text_name(name: str) -> str:
    """The GGUF name of a tensor of the language model."""
    fixed = {"model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm"}
    inner = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    name = name.removesuffix(".weight")
    if name in fixed:
        return f"{fixed[name]}.weight"
    _, _, number, part = name.split(".", 3)
    return f"blk.{number}.{inner[part]}.weight"


def vision_name(name: str) -> str:
    """The GGUF name of a tensor of the vision tower or the projector."""
    fixed = {"embeddings.class_embedding": "v.class_embd", "embeddings.patch_embedding.weight": "v.patch_embd.weight",
             "embeddings.position_embedding.weight": "v.position_embd.weight", "linear_1.weight": "mm.0.weight",
             "linear_1.bias": "mm.0.bias", "linear_2.weight": "mm.2.weight", "linear_2.bias": "mm.2.bias",
             "pre_layrnorm.weight": "v.pre_ln.weight", "pre_layrnorm.bias": "v.pre_ln.bias",
             "post_layernorm.weight": "v.post_ln.weight", "post_layernorm.bias": "v.post_ln.bias"}
    inner = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.out_proj": "attn_out", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "layer_norm1": "ln1",
             "layer_norm2": "ln2"}
    name = name.removeprefix("vision_tower.vision_model.").removeprefix("multi_modal_projector.")
    if name in fixed:
        return fixed[name]
    _, _, number, part = name.split(".", 3)
    part, end = part.rsplit(".", 1)
    return f"v.blk.{number}.{inner[part]}.{end}"


def add_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: gguf.GGMLQuantizationType) -> None:
    """Adds matrices in `kind` if the block size divides their rows, other tensors in f32."""
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    if values.ndim != 2 or values.shape[1] % block != 0 or "position" in name:
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_text(path: pathlib.Path, s: Size, weights: dict[str, Tensor], kind: str) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(s.width)
    writer.add_block_count(s.layers)
    writer.add_feed_forward_length(s.ffn)
    writer.add_head_count(s.heads)
    writer.add_head_count_kv(s.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(s.width // s.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(s.vocab)
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *byte_tokens, *(f"\u2581w{i}" for i in range(s.vocab - 259))]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256,
             *[gguf.TokenType.NORMAL] * (s.vocab - 259)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * s.vocab)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, _ in shapes(s):
        if name.startswith("language_model."):
            weight = weights[name]
            values = weight.float().numpy()
            if "q_proj" in name or "k_proj" in name:
                values = rotated_pairs(values, s.heads if "q_proj" in name else s.kv_heads)
            add_tensor(writer, text_name(name.removeprefix("language_model.")), values, TYPES[kind])
    finish(writer)


def write_vision(path: pathlib.Path, s: Size, weights: dict[str, Tensor], kind: str) -> None:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)  # quick_gelu
    for key, value in (("image_size", s.image), ("patch_size", s.patch), ("embedding_length", s.vision_width),
                       ("feed_forward_length", s.vision_ffn), ("projection_dim", s.width),
                       ("block_count", s.vision_layers), ("attention.head_count", s.vision_heads)):
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.48145466, 0.4578275, 0.40821073])
    writer.add_array("clip.vision.image_std", [0.26862954, 0.26130258, 0.27577711])
    for name, weight in weights.items():
        if not name.startswith("language_model."):
            add_tensor(writer, vision_name(name), weight.float().numpy(), TYPES[kind])
    finish(writer)


def write(out: pathlib.Path, s: Size, types: list[str], seed: int = 0) -> None:
    """Writes config.json, model.safetensors, short.gguf, text-TYPE.gguf and vision-TYPE.gguf for each type."""
    out.mkdir(parents=True, exist_ok=True)
    weights = random_weights(s, seed)
    (out / "config.json").write_text(json.dumps(config(s), indent=1), encoding="utf-8")
    save_file(weights, out / "model.safetensors")
    write_text(out / "short.gguf", dataclasses.replace(s, layers=1), weights, "q8_0")
    for kind in types:
        write_text(out / f"text-{kind}.gguf", s, weights, kind)
        if kind != "q4_0":
            write_vision(out / f"vision-{kind}.gguf", s, weights, kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    options = parser.parse_args()
    write(options.out, SIZES[options.size], options.types)


if __name__ == "__main__":
    main()
