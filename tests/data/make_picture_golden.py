"""Writes a tiny random LLaVA-1.5 checkpoint with save_pretrained of transformers' model and processor,
and what transformers computes from it in f32 for a picture: tests/data/model/picture/.

Usage: python make_picture_golden.py
Made with transformers 5.24.0, torch 2.15.0 (CPU), Pillow 13.0.0, tokenizers 0.23.3 and safetensors, not
those of requirements.txt. The tensors of golden.safetensors are those of README.md, without pooling, and
frames (1, H, W, 3) u8, of which pixel_values are made.
"""

import itertools
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig,
                          LlavaForConditionalGeneration, LlavaProcessor)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from byte_tokenizer import byte_tokenizer
from tiny_model import answer, merged_ids, random_model

HEIGHT, WIDTH, SIDE, PATCH = 50, 64, 40, 8
IMAGE = 259  # of byte_tokenizer
CONFIG = LlavaConfig(
    vision_config=CLIPVisionConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=3,
                                   num_attention_heads=4, image_size=SIDE, patch_size=PATCH,
                                   projection_dim=16),
    text_config=LlamaConfig(vocab_size=264, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                            num_attention_heads=4, num_key_value_heads=2,
                            max_position_embeddings=160, rms_norm_eps=1e-5, eos_token_id=258),
    image_token_index=IMAGE)


@torch.no_grad()
def compute(model, pixels, prompt):
    """The golden tensors; None if two greedy tokens come close: rounding could choose the other."""
    inner = model.model
    hidden = inner.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    picture = torch.cat(list(inner.get_image_features(pixels, return_dict=True).pooler_output))
    ids = merged_ids(prompt, IMAGE, IMAGE, len(picture))
    answered = answer(model, ids, pixel_values=pixels)
    if answered is None:
        return None
    return dict(pixel_values=pixels, prompt_ids=prompt.int(), vision_features=hidden.flatten(0, 1),
                projected=picture.clone(), video_embeddings=picture, **answered)


directory = pathlib.Path(__file__).parent / "model" / "picture"
torch.set_num_threads(1)
sizes = dict(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
LlavaProcessor(image_processor=CLIPImageProcessor(**sizes), tokenizer=byte_tokenizer(), patch_size=PATCH,
               vision_feature_select_strategy="default",
               num_additional_image_tokens=1).save_pretrained(directory)

coarse = np.random.default_rng(4).integers(0, 256, (6, 7, 3), dtype=np.uint8)
image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.BICUBIC)
# The processor of Pillow; the one of torchvision rounds differently.
pixels = torch.from_numpy(np.stack(CLIPImageProcessorPil(**sizes)(image)["pixel_values"]))

for seed in itertools.count(10):
    model = random_model(LlavaForConditionalGeneration, CONFIG, seed, directory)
    torch.manual_seed(1000 + seed)
    prompt = torch.randint(3, 250, (12,))
    prompt[4] = IMAGE
    golden = compute(model, pixels, prompt)
    if golden is not None:
        break
golden["frames"] = torch.from_numpy(np.asarray(image)[None].copy())
save_file({k: v.contiguous() for k, v in golden.items()}, directory / "golden.safetensors")
print(f"seed {seed}, {sum(f.stat().st_size for f in directory.iterdir())} bytes")
