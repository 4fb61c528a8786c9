"""A small PLLaVA in PyTorch. Its modules are nested so that `state_dict` has the published names.

CLIP ViT -> projector -> average pooling over (t, h, w) -> LLaMA with LoRA on q_proj and v_proj. `Config` has
all values of config.json.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
LORA_TARGETS = ("q_proj", "v_proj")


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the demo model."""

    image: int = 96
    patch: int = 12
    vision_width: int = 192
    vision_layers: int = 5
    vision_heads: int = 3
    vision_ffn: int = 768
    feature_layer: int = -2
    frames: int = 8
    pool: tuple[int, int, int] = (8, 4, 4)
    vocab: int = 768
    image_token: int = 767
    width: int = 256
    layers: int = 7
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 640
    rope_theta: float = 10000.0
    rms_eps: float = 1e-5
    lora_rank: int = 16
    lora_alpha: float = 4.0  # the default of `pllava`

    @property
    def grid(self) -> int:
        return self.image // self.patch

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def rows(self) -> int:
        """Rows of one video in the prompt."""
        return math.prod(self.pool)


def nested(module: nn.Module, *names: str) -> nn.Module:
    """Nests the module below these names, outermost first."""
    for name in reversed(names):
        module = nn.ModuleDict({name: module})
    return module


# ---- vision tower


class ClipAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class ClipMlp(nn.Module):
    def __init__(self, width: int, ffn: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, ffn), nn.Linear(ffn, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))  # quick_gelu


class ClipLayer(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(c.vision_width), nn.LayerNorm(c.vision_width)
        self.self_attn = ClipAttention(c.vision_width, c.vision_heads)
        self.mlp = ClipMlp(c.vision_width, c.vision_ffn)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class ClipEmbeddings(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(c.vision_width) * 0.02)
        self.patch_embedding = nn.Conv2d(3, c.vision_width, c.patch, c.patch, bias=False)
        self.position_embedding = nn.Embedding(c.grid**2 + 1, c.vision_width)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        return torch.cat([first, patches], 1) + self.position_embedding.weight


class ClipVision(nn.Module):
    """Frames to patch features of `feature_layer`. Later layers exist only for the checkpoint."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embeddings = ClipEmbeddings(c)
        self.pre_layrnorm = nn.LayerNorm(c.vision_width)  # sic
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(ClipLayer(c) for _ in range(c.vision_layers))})
        self.post_layernorm = nn.LayerNorm(c.vision_width)
        self.used = c.vision_layers + 1 + c.feature_layer

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder["layers"][:self.used]:
            x = layer(x)
        return x[:, 1:]


class Projector(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(c.vision_width, c.width), nn.Linear(c.width, c.width)
        with torch.no_grad():  # rows with values of order 1: smaller ones vanish next to the output of the first layer
            self.linear_2.weight.mul_(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(x)))


# ---- language model


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class LoraLinear(nn.Module):
    """y = W x + alpha / r * B A x, under peft's names."""

    def __init__(self, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.base_layer = nn.Linear(inputs, outputs, bias=False)
        self.lora_A = nested(nn.Linear(inputs, rank, bias=False), "default")
        self.lora_B = nested(nn.Linear(rank, outputs, bias=False), "default")
        nn.init.zeros_(self.lora_B["default"].weight)
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.scale * self.lora_B["default"](self.lora_A["default"](x))


class LlamaAttention(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        keys = c.kv_heads * c.head_dim
        self.head_dim, self.groups = c.head_dim, c.heads // c.kv_heads
        self.q_proj = LoraLinear(c.width, c.width, c.lora_rank, c.lora_alpha)
        self.k_proj = nn.Linear(c.width, keys, bias=False)
        self.v_proj = LoraLinear(c.width, keys, c.lora_rank, c.lora_alpha)
        self.o_proj = nn.Linear(c.width, c.width, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, prefix: int) -> Tensor:
        """The first `prefix` rows are causal; the others use mask (B, 1, N - prefix, N)."""
        q, k, v = (layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
                   for layer in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotated(q, *rope), rotated(k, *rope)
        k, v = (t.repeat_interleave(self.groups, 1) for t in (k, v))
        parts = []
        if prefix:
            first = (t[:, :, :prefix] for t in (q, k, v))
            parts.append(F.scaled_dot_product_attention(*first, is_causal=True))
        if mask is not None:
            parts.append(F.scaled_dot_product_attention(q[:, :, prefix:], k, v, attn_mask=mask))
        return self.o_proj(torch.cat(parts, 2).transpose(1, 2).flatten(2))


class LlamaMlp(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(c.width, c.ffn, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(c.ffn, c.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = (RmsNorm(c.width, c.rms_eps) for _ in range(2))
        self.self_attn = LlamaAttention(c)
        self.mlp = LlamaMlp(c)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, prefix: int) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, prefix)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaModel(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab, c.width)
        self.layers = nn.ModuleList(LlamaLayer(c) for _ in range(c.layers))
        self.norm = RmsNorm(c.width, c.rms_eps)
        self.head_dim, self.theta = c.head_dim, c.rope_theta

    def states(self, x: Tensor, positions: Tensor, mask: Tensor | None = None, prefix: int = 0,
               depth: int | None = None) -> list[Tensor]:
        """Embeddings (B, N, H) at positions (B, N) to the outputs (B, N, H) of each of the first `depth` layers.

        The first `prefix` rows are causal; the others use mask (B, 1, N - prefix, N).
        """
        rates = self.theta ** (-torch.arange(0, self.head_dim, 2, device=x.device) / self.head_dim)
        angles = positions[:, None, :, None] * rates.repeat(2)
        rope = (angles.cos(), angles.sin())
        states = []
        for layer in self.layers[:depth]:
            x = layer(x, rope, mask, prefix)
            states.append(x)
        return states


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE of LLaMA: dimension i is paired with i + head_dim / 2."""
    a, b = x.chunk(2, -1)
    return (x * cos + torch.cat([-b, a], -1) * sin).to(x.dtype)


# ---- the whole model


class Pllava(nn.Module):
    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        self.vision_tower = nested(ClipVision(config), "vision_model")
        self.multi_modal_projector = Projector(config)
        llama = nn.ModuleDict({"model": LlamaModel(config),
                               "lm_head": nn.Linear(config.width, config.vocab, bias=False)})
        self.language_model = nested(llama, "base_model", "model")
        for name, weight in llama.named_parameters():
            if weight.dim() == 2 and "lora_" not in name:
                nn.init.normal_(weight, std=0.02)
        for name, weight in llama.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # these add to the residual stream
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * config.layers))

    @property
    def vision(self) -> ClipVision:
        return self.vision_tower["vision_model"]

    @property
    def llama(self) -> LlamaModel:
        return self.language_model["base_model"]["model"]["model"]

    @property
    def lm_head(self) -> nn.Linear:
        return self.language_model["base_model"]["model"]["lm_head"]

    def lora_parameters(self) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if "lora_" in name]

    def features(self, pixels: Tensor) -> Tensor:
        """Normalized frames (B, T, 3, S, S) to patch features (B, T, grid², D)."""
        return self.vision(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])

    def pooled(self, features: Tensor) -> Tensor:
        """Patch features (B, T, grid², D) to the rows of the video (B, T' h w, H), T' = min(T, pool[0])."""
        c = self.config
        grid = self.multi_modal_projector(features).unflatten(2, (c.grid, c.grid)).permute(0, 4, 1, 2, 3)
        frames = min(features.shape[1], c.pool[0])
        if frames == features.shape[1]:  # no pooling over time: 2D average pooling is enough
            window = (1, c.grid // c.pool[1], c.grid // c.pool[2])
            grid = F.avg_pool3d(grid, window)
        else:
            grid = F.adaptive_avg_pool3d(grid, (frames, *c.pool[1:]))
        return grid.flatten(2).transpose(1, 2)

    @torch.no_grad()
    def generate(self, pixels: Tensor, before: list[int], after: list[int], end: int, limit: int = 80) -> list[int]:
        """The greedy answer to the prompt of ids `before`, the video (1, T, 3, S, S), and ids `after`."""
        words, device = self.llama.embed_tokens, pixels.device
        video = self.pooled(self.features(pixels))
        ids: list[int] = []
        while len(ids) < limit:
            text = words(torch.tensor([after + ids], device=device))
            x = torch.cat([words(torch.tensor([before], device=device)), video, text], 1)
            n = x.shape[1]
            state = self.llama.states(x, torch.arange(n, device=device)[None], prefix=n)[-1][0, -1]
            ids.append(int(self.lm_head(self.llama.norm(state)).argmax()))
            if ids[-1] == end:
                break
        return ids


def normalised(frames: Tensor) -> Tensor:
    """uint8 frames (..., S, S, 3) to the input of the vision tower, (..., 3, S, S) in f32."""
    mean, std = (torch.tensor(v, device=frames.device) for v in (IMAGE_MEAN, IMAGE_STD))
    return ((frames.float() / 255 - mean) / std).movedim(-1, -3).contiguous()
