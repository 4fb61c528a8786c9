"""Model sizes of the benchmarks."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of LLaMA and CLIP, and the pooled grid (t, h, w)."""

    width: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int = 32064
    image: int = 336
    patch: int = 14
    vision_width: int = 1024
    vision_ffn: int = 4096
    vision_layers: int = 24
    vision_heads: int = 16
    pool: tuple[int, int, int] = (16, 12, 12)

    @property
    def video_rows(self) -> int:
        t, h, w = self.pool
        return t * h * w


SIZES = {
    "1b": Size(2048, 5632, 22, 32, 4),
    "7b-4": Size(4096, 11008, 4, 32, 32),  # 4 of the 32 layers of 7b
    "7b": Size(4096, 11008, 32, 32, 32),
    "tiny": Size(64, 160, 2, 4, 2, 512, 56, 14, 64, 128, 3, 4, (16, 2, 2)),
}
