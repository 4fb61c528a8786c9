"""Makes tests/data/model: tiny random checkpoints in the published layouts, and what PyTorch makes of them.

    python make_model_goldens.py              # writes every checkpoint and its goldens
    python make_model_goldens.py --only odd_heads --output /tmp/model

The modules are those of transformers and peft, put together as PLLaVA does: CLIP features without the
class token, the projector on every patch, AdaptiveAvgPool3d over (t, h, w), the rows put in the place of
the image token, LLaMA. Weights come from numpy's PCG64, are rounded to the type they are stored in, and
are read back from the files before anything is computed, in f32. Every result is held against a second
implementation in f64 numpy that shares no code with the first (see `Check`). Of several seeds the first is
taken with which greedy decoding has no near ties, ends nowhere and does not repeat itself.
"""

import argparse
import copy
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

HERE = pathlib.Path(__file__).parent / "model"
NEW_TOKENS = 64
MIN_MARGIN = 2e-3  # of the largest logit, between the best and the second-best token
MIN_DISTINCT = 24  # different tokens among the greedy ones
BOS, EOS, PAD = 1, 2, 0
LORA_TARGETS = ("q_proj", "v_proj")


@dataclasses.dataclass
class Spec:
    """One checkpoint: sizes, and how its files are written."""

    name: str
    vision: dict  # hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, ...
    text: dict
    frames: int
    pool: tuple
    image_token: int
    dtype: torch.dtype
    naming: str = "llava"  # or "newer"; a LoRA makes it PEFT's
    feature_layer: int = -2
    lora_rank: int = 0
    alphas: tuple = ()
    shards: int = 1
    base: str = ""  # the directory that this adapter lies over
    seed: int = 0

    def config(self):
        """config.json, as the published directories have it."""
        dtype = str(self.dtype).removeprefix("torch.")
        grid = self.vision["image_size"] // self.vision["patch_size"]
        return {
            "architectures": ["PllavaForConditionalGeneration"],
            "causal_conv_ks": [3, 3, 3],
            "frame_shape": [grid, grid],
            "highres": False,
            "ignore_index": -100,
            "image_token_index": self.image_token,
            "model_type": "llava",
            "num_frames": self.frames,
            "pad_token_id": PAD,
            "pooling_method": "avg",
            "pooling_shape": list(self.pool),
            "projector_hidden_act": "gelu",
            "register": False,
            "slide_pooling_shape": [1, 1, 1],
            "stride": [2, 2, 2],
            "text_config": {
                "architectures": ["LlamaForCausalLM"],
                "max_position_embeddings": 256,
                "model_type": "llama",
                "pad_token_id": PAD,
                "rms_norm_eps": 1e-05,
                "torch_dtype": dtype,
                **self.text,
            },
            "tie_word_embeddings": self.text.get("tie_word_embeddings", False),
            "torch_dtype": dtype,
            "transformers_version": "4.37.1",
            "use_cc": False,
            "use_pooling": True,
            "use_yi": False,
            "vision_config": {"model_type": "clip_vision_model", "projection_dim": 16, **self.vision},
            "vision_feature_layer": self.feature_layer,
            "vision_feature_select_strategy": "default",
            "vocab_size": self.text["vocab_size"],
        }


def vision(width, ffn, layers, heads, image, patch):
    return dict(hidden_size=width, image_size=image, intermediate_size=ffn, num_attention_heads=heads,
                num_hidden_layers=layers, patch_size=patch)


def text(width, ffn, layers, heads, kv_heads, vocab, **more):
    return dict(hidden_size=width, intermediate_size=ffn, num_attention_heads=heads, num_hidden_layers=layers,
                num_key_value_heads=kv_heads, vocab_size=vocab, **more)


ADAPTER = dict(vision=vision(24, 40, 3, 2, 20, 5), text=text(40, 76, 2, 4, 4, 240), frames=2, pool=(2, 2, 2),
               image_token=230, dtype=torch.bfloat16)

SPECS = [
    # llava-hf names, f32; heads 9 and 16 wide
    Spec("plain_f32", vision(27, 45, 3, 3, 28, 7), text(48, 58, 2, 3, 3, 160), 4, (4, 2, 2), 150, torch.float32),
    # PEFT names in three shards, bf16, grouped queries, overlapping pooling windows
    Spec("peft_sharded", vision(36, 60, 3, 3, 20, 5), text(72, 88, 2, 6, 2, 250, rope_theta=5000000.0), 4, (2, 3, 3),
         240, torch.bfloat16, lora_rank=8, alphas=(4, 32), shards=3),
    # newer transformers' names, f16, seven query heads on one key head, lm_head tied to the embeddings
    Spec("newer_names", vision(30, 46, 2, 5, 24, 6), text(84, 100, 2, 7, 1, 220, tie_word_embeddings=True), 3,
         (3, 1, 2), 210, torch.float16, naming="newer"),
    # an adapter with the published rank over a plain directory
    Spec("adapter_base", **ADAPTER),
    Spec("adapter", **ADAPTER, lora_rank=128, alphas=(4, 32), base="adapter_base", seed=1000),
    # a 3 x 3 grid with overlapping windows, heads 10 wide, the last vision layer, an image token outside the vocabulary
    Spec("odd_heads", vision(30, 42, 2, 3, 21, 7), text(50, 62, 2, 5, 5, 130), 4, (4, 2, 2), 130, torch.bfloat16,
         feature_layer=-1),
]


# ---- the model, from transformers' and peft's parts


def build(spec, alpha=None):
    """An empty model in f32; with `alpha` its language model carries a LoRA."""
    config = spec.config()
    model = LlavaForConditionalGeneration(
        LlavaConfig(CLIPVisionConfig(**config["vision_config"]), LlamaConfig(**config["text_config"]),
                    image_token_index=spec.image_token, pad_token_id=PAD,
                    vision_feature_layer=spec.feature_layer))
    if alpha is not None:
        model.language_model = get_peft_model(
            model.language_model,
            LoraConfig(r=spec.lora_rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(LORA_TARGETS)))
    return model.eval()


def random_weights(model, spec, seed):
    """Weights that keep activations and logits of order 1 and attention uneven, in the type they are stored in."""
    rng = np.random.Generator(np.random.PCG64(seed))
    weights = {}
    for name, tensor in sorted(model.state_dict().items()):
        noise = torch.from_numpy(rng.standard_normal(tuple(tensor.shape)).astype(np.float32))
        fan_in = tensor[0].numel() if tensor.dim() > 1 else 1
        if name.endswith("norm.weight") or "layernorm.weight" in name or "norm1.weight" in name \
                or "norm2.weight" in name or "layrnorm.weight" in name:
            value = 1 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif "lora_A" in name:
            value = noise / fan_in**0.5
        elif "lora_B" in name:  # at alpha 32 the adapter adds 0.6 of what the layer itself gives
            value = 0.6 * noise * spec.lora_rank**0.5 / 32
        elif "embed_tokens" in name or "position_embedding" in name or "class_embedding" in name:
            value = noise
        elif "lm_head" in name:
            value = 2 * noise / fan_in**0.5
        elif "q_proj" in name or "k_proj" in name:
            value = 1.5 * noise / fan_in**0.5
        else:
            value = 1.2 * noise / fan_in**0.5
        weights[name] = value.to(spec.dtype)
    weights["image_newline"] = torch.from_numpy(
        rng.standard_normal(spec.text["hidden_size"]).astype(np.float32)).to(spec.dtype)
    if spec.text.get("tie_word_embeddings"):
        del weights["language_model.lm_head.weight"]
    return weights


# ---- files


def newer_name(name):
    """The name that transformers 4.52 and later give to a tensor."""
    for old, new in (("language_model.lm_head.", "lm_head."), ("language_model.model.", "model.language_model."),
                     ("vision_tower.", "model.vision_tower."),
                     ("multi_modal_projector.", "model.multi_modal_projector."),
                     ("image_newline", "model.image_newline")):
        if name.startswith(old):
            return new + name[len(old):]
    return name


def older_name(name):
    return next((n for n in (newer_inverse(name),) if n), name)


def newer_inverse(name):
    for old, new in (("language_model.lm_head.", "lm_head."), ("language_model.model.", "model.language_model."),
                     ("vision_tower.", "model.vision_tower."),
                     ("multi_modal_projector.", "model.multi_modal_projector."),
                     ("image_newline", "model.image_newline")):
        if name.startswith(new):
            return old + name[len(new):]
    return None
