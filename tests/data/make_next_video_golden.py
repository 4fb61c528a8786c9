"""Writes a tiny random LLaVA-NeXT-Video checkpoint with transformers' save_pretrained, and what
transformers' own video path computes from it in f32: tests/data/model/next_video/.

Usage: python make_next_video_golden.py
Made with transformers 5.24.0, torch 2.15.0 (CPU) and safetensors, not those of requirements.txt.
The tensors of golden.safetensors are those of README.md.
"""

import itertools
import pathlib

import torch
from safetensors.torch import save_file
from transformers import (CLIPVisionConfig, LlamaConfig, LlavaNextVideoConfig,
                          LlavaNextVideoForConditionalGeneration)

from tiny_model import answer, merged_ids, random_model

FRAMES, SIDE, PATCH = 3, 56, 14
IMAGE, VIDEO = 65, 64
CONFIG = LlavaNextVideoConfig(
    vision_config=CLIPVisionConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=3,
                                   num_attention_heads=4, image_size=SIDE, patch_size=PATCH,
                                   projection_dim=16),
    text_config=LlamaConfig(vocab_size=67, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                            num_attention_heads=4, num_key_value_heads=2,
                            max_position_embeddings=160, rms_norm_eps=1e-5),
    image_token_index=IMAGE, video_token_index=VIDEO, spatial_pool_stride=2, num_frames=FRAMES)


@torch.no_grad()
def compute(model, pixels, prompt):
    """The golden tensors; None if two greedy tokens come close: rounding could choose the other."""
    inner = model.model
    hidden = inner.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    projected = inner.multi_modal_projector(hidden)
    video = inner.get_video_features(pixels[None], return_dict=True).pooler_output
    video = torch.cat([v.reshape(-1, v.shape[-1]) for v in video])
    ids = merged_ids(prompt, IMAGE, VIDEO, len(video))
    answered = answer(model, ids, pixel_values_videos=pixels[None])
    if answered is None:
        return None
    return dict(pixel_values=pixels, prompt_ids=prompt.int(), vision_features=hidden.flatten(0, 1),
                projected=projected.flatten(0, 1), video_embeddings=video, **answered)


directory = pathlib.Path(__file__).parent / "model" / "next_video"
torch.set_num_threads(1)
for seed in itertools.count():
    model = random_model(LlavaNextVideoForConditionalGeneration, CONFIG, seed, directory)
    torch.manual_seed(1000 + seed)
    pixels = torch.randn(FRAMES, 3, SIDE, SIDE).bfloat16().float()
    prompt = torch.randint(3, 60, (12,))
    prompt[4] = IMAGE
    golden = compute(model, pixels, prompt)
    if golden is not None:
        break
save_file({k: v.contiguous() for k, v in golden.items()}, directory / "golden.safetensors")
print(f"seed {seed}, {sum(f.stat().st_size for f in directory.iterdir())} bytes")
