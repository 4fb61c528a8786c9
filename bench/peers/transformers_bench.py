"""Measures Hugging Face transformers with the parts and sizes of `pllava bench`.

    python bench/peers/transformers_bench.py --preset 7b --dtype bf16 --device cuda
    python bench/peers/transformers_bench.py --preset tiny --device cpu --pllava build/pllava

Random weights; the prompt is the rows of a video and a question. CLIP ViT up to its second to last layer, the
projector and pooling of PLLaVA in PyTorch, LLaMA with SDPA attention and a static cache; with --compile, decode also
with torch.compile. Each part runs once as a warm-up and then --runs times; the table shows medians. With --pllava the
program is measured in the same run, and a column shows the ratio.

Needs torch and transformers 5.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import time
from collections.abc import Callable

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, StaticCache

from sizes import SIZES, Size

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
PARTS = ("vision", "projector", "prefill", "decode", "second question", "frames to first token")


class VideoModel(nn.Module):
    """Vision tower, projector with pooling, and language model."""

    def __init__(self, s: Size) -> None:
        super().__init__()
        self.size = s
        self.vision = CLIPVisionModel(CLIPVisionConfig(
            image_size=s.image, patch_size=s.patch, hidden_size=s.vision_width, intermediate_size=s.vision_ffn,
            num_hidden_layers=s.vision_layers - 1, num_attention_heads=s.vision_heads,
            attn_implementation="sdpa"))  # the last layer is not used
        self.linear_1, self.linear_2 = nn.Linear(s.vision_width, s.width), nn.Linear(s.width, s.width)
        self.llama = LlamaForCausalLM(LlamaConfig(
            hidden_size=s.width, intermediate_size=s.ffn, num_hidden_layers=s.layers, num_attention_heads=s.heads,
            num_key_value_heads=s.kv_heads, vocab_size=s.vocab, max_position_embeddings=4096,
            attn_implementation="sdpa"))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(T, 3, S, S) to patch features (T, P, D)."""
        return self.vision(pixels).last_hidden_state[:, 1:]

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """(T, P, D) to video rows (1, N, H), projected before pooling, as in the reference."""
        x = self.linear_2(nn.functional.gelu(self.linear_1(features)))
        side = self.size.image // self.size.patch
        grid = x.unflatten(1, (side, side)).permute(3, 0, 1, 2)[None]
        return nn.functional.adaptive_avg_pool3d(grid, self.size.pool).flatten(2).transpose(1, 2)


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        dtype = DTYPES[options.dtype]
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        with torch.device(self.device):
            self.model = VideoModel(SIZES[options.preset]).eval()
            self.pixels = torch.randn(options.frames, 3, *[self.model.size.image] * 2)
            self.words = torch.ones(1, options.text_rows, dtype=torch.long)
        self.model.size = dataclasses.replace(self.model.size, pool=(options.frames, *self.model.size.pool[1:]))
        self.cache = StaticCache(config=self.model.llama.config, max_batch_size=1, device=self.device, dtype=dtype,
                                 max_cache_len=self.model.size.video_rows + options.text_rows + 8)
        self.stored = 0  # rows in the cache
        self.medians: dict[str, float] = {}

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def measure(self, name: str, work: Callable[[], object]) -> None:
        """Stores the median of --runs runs in milliseconds, if the part is in --parts."""
        if name.split(",")[0] not in self.options.parts:
            return
        times = []
        for _ in range(self.options.runs + 1):
            self.synchronise()
            start = time.perf_counter()
            work()
            self.synchronise()
            times.append(1e3 * (time.perf_counter() - start))
        self.medians[name] = statistics.median(times[1:])

    def read(self, embeddings: torch.Tensor, past: int, model: nn.Module | None = None) -> torch.Tensor:
        """Appends rows (1, N, H) after `past` rows. Returns the most likely next id (1, 1)."""
        if self.stored > past:
            self.cache.crop(past - self.stored)
        self.stored = past + embeddings.shape[1]
        result = (model or self.model.llama)(inputs_embeds=embeddings, past_key_values=self.cache, logits_to_keep=1)
        return result.logits[:, -1].argmax(-1, keepdim=True)

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        m, rows = self.model, self.model.size.video_rows
        embed = m.llama.get_input_embeddings()
        features = m.encode(self.pixels)
        video = m.project(features)
        prompt = torch.cat([video, embed(self.words)], 1)
        length = prompt.shape[1]
        self.measure("vision", lambda: m.encode(self.pixels))
        self.measure("projector", lambda: m.project(features))
        self.measure("prefill", lambda: self.read(prompt, 0))
        token = self.read(prompt, 0)
        self.measure("decode", lambda: self.read(embed(token), length).item())
        if self.options.compile:
            compiled = torch.compile(m.llama, mode="reduce-overhead", fullgraph=True)
            self.measure("decode, compiled", lambda: self.read(embed(token), length, compiled).item())
        self.measure("second question", lambda: self.read(embed(self.words), rows).item())
        self.measure("frames to first token", lambda: self.read(
            torch.cat([m.project(m.encode(self.pixels)), embed(self.words)], 1), 0).item())
        return self.medians


def measure_pllava(options: argparse.Namespace) -> dict[str, float]:
    device = "cuda" if options.device.startswith("cuda") else "cpu"
    command = [options.pllava, "bench", "--random-weights", options.preset, "--dtype", options.dtype, "--device", device,
               "--runs", str(options.runs), "--text-rows", str(options.text_rows),
               "--frames", str(options.frames), "--json", "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {part["part"]: part["median_ms"] for part in json.loads(done.stdout)["parts"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=SIZES, default="7b")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--frames", type=int, default=16, help="frames of the clip (default 16)")
    parser.add_argument("--text-rows", type=int, default=96, help="tokens of the question (default 96)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each part (default 5)")
    parser.add_argument("--compile", action="store_true", help="also measure decode with torch.compile")
    parser.add_argument("--pllava", metavar="PATH", help="also measure this program")
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    options = parser.parse_args()
    peers = {"transformers": Bench(options).run()}
    if options.device.startswith("cuda"):
        torch.cuda.empty_cache()
    if options.pllava:
        peers["pllava"] = measure_pllava(options)
    if options.json:
        print(json.dumps({"preset": options.preset, "dtype": options.dtype, "median_ms": peers}))
        return
    ours = peers.get("pllava", {})
    print(f"{'part':<24}{'transformers ms':>18}{'pllava ms':>14}{'ratio':>8}")
    for name, theirs in peers["transformers"].items():
        mine = ours.get(name.removesuffix(", compiled"))
        print(f"{name:<24}{theirs:>18.2f}" + (f"{mine:>14.2f}{theirs / mine:>8.2f}" if mine else ""))


if __name__ == "__main__":
    main()
