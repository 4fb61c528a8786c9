"""Writes a tiny random LLaVA-OneVision checkpoint with save_pretrained of transformers' model and
processor, and what transformers' own video path computes from it in f32: tests/data/model/onevision/.

Usage: python make_onevision_golden.py
Made with transformers 5.24.0, torch 2.15.0 (CPU), torchvision 0.29.2, Pillow 13.0.0, tokenizers 0.23.3
and safetensors, not those of requirements.txt. The tensors of golden.safetensors are those of
README.md, and frames (T, H, W, 3) u8, of which pixel_values are made.
"""

import itertools
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration,
                          LlavaOnevisionImageProcessor, LlavaOnevisionProcessor,
                          LlavaOnevisionVideoProcessor, Qwen2Config, SiglipVisionConfig)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from byte_tokenizer import byte_tokenizer
from tiny_model import answer, merged_ids, random_model

FRAMES, HEIGHT, WIDTH, SIDE, PATCH = 3, 50, 64, 43, 8  # 43 / 8: five whole patches
IMAGE, VIDEO = 259, 260  # of byte_tokenizer
CONFIG = LlavaOnevisionConfig(
    vision_config=SiglipVisionConfig(hidden_size=72, intermediate_size=40, num_hidden_layers=2,
                                     num_attention_heads=1, image_size=SIDE, patch_size=PATCH,
                                     vision_use_head=False),
    text_config=Qwen2Config(vocab_size=264, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160,
                            rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=258),
    image_token_index=IMAGE, video_token_index=VIDEO)


@torch.no_grad()
def compute(model, pixels, prompt):
    """The golden tensors; None if two greedy tokens come close: rounding could choose the other."""
    inner = model.model
    hidden = inner.vision_tower(pixels, output_hidden_states=True).hidden_states[-1]
    projected = inner.multi_modal_projector(hidden)
    video = inner.get_video_features(pixels[None], return_dict=True).pooler_output[0]
    ids = merged_ids(prompt, IMAGE, VIDEO, len(video))
    answered = answer(model, ids, pixel_values_videos=pixels[None])
    if answered is None:
        return None
    return dict(pixel_values=pixels, prompt_ids=prompt.int(), vision_features=hidden.flatten(0, 1),
                projected=projected.flatten(0, 1), video_embeddings=video, **answered)


directory = pathlib.Path(__file__).parent / "model" / "onevision"
torch.set_num_threads(1)
size, half = {"height": SIDE, "width": SIDE}, [0.5, 0.5, 0.5]
processor = LlavaOnevisionProcessor(
    image_processor=LlavaOnevisionImageProcessor(size=size, image_mean=half, image_std=half,
                                                 image_grid_pinpoints=[[SIDE, SIDE]]),
    tokenizer=byte_tokenizer(),
    video_processor=LlavaOnevisionVideoProcessor(size=size, image_mean=half, image_std=half),
    num_image_tokens=(SIDE // PATCH) ** 2, vision_feature_select_strategy="full")
processor.save_pretrained(directory)

generator = np.random.default_rng(3)
coarse = generator.integers(0, 256, (FRAMES, 6, 7, 3), dtype=np.uint8)
images = [Image.fromarray(c).resize((WIDTH, HEIGHT), Image.BICUBIC) for c in coarse]
frames = np.stack([np.asarray(i) for i in images])
# The processor of Pillow; the one of torchvision rounds differently.
pil = SiglipImageProcessorPil(size=size, image_mean=half, image_std=half, resample=3)
pixels = torch.from_numpy(np.stack(pil(images)["pixel_values"]))
torchvision = processor.video_processor(torch.from_numpy(frames).permute(0, 3, 1, 2),
                                        return_tensors="pt")["pixel_values_videos"][0]
print("largest difference to torchvision:", float((pixels - torchvision).abs().max()) * 127.5,
      "of 255")

for seed in itertools.count():
    model = random_model(LlavaOnevisionForConditionalGeneration, CONFIG, seed, directory)
    torch.manual_seed(1000 + seed)
    prompt = torch.randint(3, 250, (12,))
    prompt[4] = IMAGE
    golden = compute(model, pixels, prompt)
    if golden is not None:
        break
golden["frames"] = torch.from_numpy(frames)
save_file({k: v.contiguous() for k, v in golden.items()}, directory / "golden.safetensors")
print(f"seed {seed}, {sum(f.stat().st_size for f in directory.iterdir())} bytes")
