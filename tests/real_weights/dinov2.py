"""Compares the vision tower with transformers' DINOv2 on published weights.

Usage: dinov2.py MODEL.onnx TOKENIZER.json PLLAVA   (called by tests/real_weights.sh)
The weights are folded into a CLIP tower (fold_dinov2.py). `PLLAVA trace` gives the pixels and
features of an image, and Dinov2Model the features of the same pixels. Needs onnx, torch,
transformers and safetensors. Exit code 1 if they differ.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model

from fold_dinov2 import CHANNELS, EPSILON, FFN, HEADS, LAYERS, PATCH, read_weights, write_checkpoint

# Of the Euclidean norm; bf16 and int8: about twice what was measured.
LIMITS = {"f32": 1e-4, "bf16": 0.012, "int8": 0.032}


def write_image(path):
    """A sky over a field with a round tree, and some noise."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[0:240, 0:320] / 240
    image = np.stack([90 + 60 * y, 130 + 70 * y, 230 - 40 * y], axis=-1)
    image[y > 0.6] = (80, 140, 50)
    image[(x - 0.5) ** 2 + (y - 0.45) ** 2 < 0.04] = (30, 90, 30)
    image[(abs(x - 0.5) < 0.03) & (y > 0.6) & (y < 0.8)] = (90, 60, 30)
    image = np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    path.write_bytes(b"P6 320 240 255\n" + image.tobytes())


def main():
    onnx_path, tokenizer, pllava = (pathlib.Path(a) for a in sys.argv[1:4])
    weights = read_weights(onnx_path)
    model = Dinov2Model(Dinov2Config(hidden_size=CHANNELS, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                                     mlp_ratio=FFN // CHANNELS, image_size=518, patch_size=PATCH,
                                     layer_norm_eps=EPSILON, attn_implementation="eager")).eval()
    model.load_state_dict(weights)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        write_checkpoint(weights, tokenizer, directory / "model")
        write_image(directory / "image.ppm")
        for kind, limit in LIMITS.items():
            trace = directory / f"{kind}.safetensors"
            subprocess.run([pllava, "trace", directory / "image.ppm", "--model", directory / "model", "--dtype", kind,
                            "--out", trace, "--quiet"], check=True)
            tensors = load_file(trace)
            features = tensors["vision_features"].float().reshape(-1, CHANNELS + 64)
            with torch.no_grad():
                hidden = model(tensors["pixel_values"].float(), output_hidden_states=True).hidden_states[-1][0, 1:]
            expected = hidden - hidden.mean(dim=-1, keepdim=True)
            if features[:, CHANNELS:].abs().max() != 0:
                sys.exit("dinov2: the added channels are not zero")
            distance = float((features[:, :CHANNELS] - expected).norm() / expected.norm())
            print(f"vision features in {kind}: relative distance {distance:.1e} (limit {limit})")
            if not distance < limit:
                sys.exit("dinov2: the features differ from those of transformers")


main()
