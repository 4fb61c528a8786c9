"""Writes an animated WebP and its frames over white, as Pillow 10.2.0 (libwebp) decodes them:
tests/data/webp/animation.webp and animation.rgb, dense RGB, one frame after the other.

Usage: python make_webp_goldens.py
"""

import pathlib

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 24


def picture(number):
    """A half-transparent square that moves over a background that is partly transparent."""
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[:, : WIDTH // 2] = (30, 90, 200, 255)
    pixels[12:, WIDTH // 2 :] = (200, 160, 40, 90)
    x = 4 + 7 * number
    pixels[5:17, x : x + 10] = (220, 20 * number, 60, 255 if number % 2 else 130)
    return Image.fromarray(pixels)


out = pathlib.Path(__file__).parent / "webp"
out.mkdir(exist_ok=True)
pictures = [picture(number) for number in range(5)]
path = out / "animation.webp"
pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True,
                 duration=[40, 80, 200, 5, 120], minimize_size=True, kmax=0)

frames = b""
with Image.open(path) as animation:
    for number in range(animation.n_frames):
        animation.seek(number)
        rgba = np.asarray(animation.convert("RGBA")).astype(np.int32)
        alpha = rgba[:, :, 3:]
        frames += ((rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8).tobytes()
(out / "animation.rgb").write_bytes(frames)
