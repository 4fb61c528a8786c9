"""Writes hashes of Pillow 10.2.0's bicubic resampling of a synthetic image, for various sizes, to
tests/data/pillow/resize.json. Other versions of Pillow may round differently.

Usage: python make_pillow_goldens.py
"""

import json
import pathlib
import random

import numpy as np
from PIL import Image


def synthetic(h, w):
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    return ((5 * x * (c + 1) + 7 * y * (3 - c) + ((x * y) >> (3 + c))) & 255).astype(np.uint8)


def fnv1a64(data):
    h = 14695981039346656037
    for byte in data:
        h = ((h ^ byte) * 1099511628211) & (2**64 - 1)
    return f"{h:016x}"


random.seed(5)
sizes = [(1, 1, 7, 5), (1, 9, 1, 3), (5, 1, 2, 1), (300, 2, 3, 200), (3, 500, 200, 2), (2, 2, 64, 64)]
sizes += [tuple(random.randint(1, 260) for _ in range(4)) for _ in range(60)]
cases = []
for h, w, out_h, out_w in sizes:
    resized = Image.fromarray(synthetic(h, w)).resize((out_w, out_h), Image.BICUBIC)
    cases.append(dict(h=h, w=w, out_h=out_h, out_w=out_w, fnv1a64=fnv1a64(resized.tobytes())))
out = pathlib.Path(__file__).parent / "pillow" / "resize.json"
out.parent.mkdir(exist_ok=True)
out.write_text(json.dumps(cases) + "\n")
