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

FRAMES, SIDE, PATCH, STEPS = 3, 56, 14, 64
IMAGE, VIDEO = 65, 64
CONFIG = LlavaNextVideoConfig(
    vision_config=CLIPVisionConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=3,
                                   num_attention_heads=4, image_size=SIDE, patch_size=PATCH,
                                   projection_dim=16),
    text_config=LlamaConfig(vocab_size=67, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                            num_attention_heads=4, num_key_value_heads=2,
                            max_position_embeddings=160, rms_norm_eps=1e-5),
    image_token_index=IMAGE, video_token_index=VIDEO, spatial_pool_stride=2, num_frames=FRAMES)


def random_model(seed):
    """A model whose weights are exact in bf16."""
    torch.manual_seed(seed)
    model = LlavaNextVideoForConditionalGeneration(CONFIG).float()
    for key, parameter in model.named_parameters():
        if "norm" in key and key.endswith("weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            torch.nn.init.normal_(parameter, std=0.3 if "language_model" in key else 0.15)
    return model.to(torch.bfloat16)


@torch.no_grad()
def compute(model, pixels, prompt):
    """The golden tensors; None if two greedy tokens come close: rounding could choose the other."""
    inner = model.model
    hidden = inner.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    projected = inner.multi_modal_projector(hidden)
    video = inner.get_video_features(pixels[None], return_dict=True).pooler_output
    video = torch.cat([v.reshape(-1, v.shape[-1]) for v in video])
    place = prompt.tolist().index(IMAGE)
    ids = torch.cat([prompt[:place], torch.full((len(video),), VIDEO), prompt[place + 1:]])[None]
    tokens = []
    for _ in range(STEPS):
        logits = model(input_ids=ids, pixel_values_videos=pixels[None]).logits[0, -1]
        best = torch.topk(logits, 2).values
        if best[0] - best[1] < 2e-3 * logits.abs().max():
            return None
        first = logits if not tokens else first
        tokens.append(int(logits.argmax()))
        ids = torch.cat([ids, logits.argmax().view(1, 1)], dim=1)
    return dict(pixel_values=pixels, prompt_ids=prompt.int(), vision_features=hidden.flatten(0, 1),
                projected=projected.flatten(0, 1), video_embeddings=video, logits=first,
                greedy_ids=torch.tensor(tokens, dtype=torch.int32))


directory = pathlib.Path(__file__).parent / "model" / "next_video"
torch.set_num_threads(1)
for seed in itertools.count():
    random_model(seed).save_pretrained(directory)
    # Loading computes the rotary frequencies in f32; a conversion would round them to bf16.
    model = LlavaNextVideoForConditionalGeneration.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager").eval()
    torch.manual_seed(1000 + seed)
    pixels = torch.randn(FRAMES, 3, SIDE, SIDE).bfloat16().float()
    prompt = torch.randint(3, 60, (12,))
    prompt[4] = IMAGE
    golden = compute(model, pixels, prompt)
    if golden is not None:
        break
save_file({k: v.contiguous() for k, v in golden.items()}, directory / "golden.safetensors")
print(f"seed {seed}, {sum(f.stat().st_size for f in directory.iterdir())} bytes")
