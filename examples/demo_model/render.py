"""Draws a scene of world.py with numpy: anti-aliased shapes from signed distances.

A thing is drawn in a window around it, for all times in one pass. A clip of eight 96x96 frames takes a
few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from world import COLOURS, Scene, Track, track

PALETTE = np.array(
    [
        (226, 38, 38),  # red
        (250, 138, 16),  # orange
        (250, 226, 36),  # yellow
        (36, 168, 60),  # green
        (36, 212, 222),  # cyan
        (36, 80, 228),  # blue
        (136, 48, 186),  # purple
        (252, 138, 196),  # pink
    ],
    dtype=np.float32,
)
EDGE = 0.14  # width of the dark edge, in radii
DARK_EDGE = 0.38  # brightness of the edge, relative to the thing
DARK_STRIPE = 0.5  # brightness of every other stripe, relative to the thing
REACH = 1.25  # maximum distance of a shape from its centre, in radii


def sample_times(scene: Scene, frames: int) -> list[float]:
    """Times in seconds of the frames that PLLaVA's evaluation rule samples from the whole clip."""
    count = frame_count(scene)
    span = (count - 1) / frames
    return [int(span / 2 + np.rint(span * i)) / scene.fps for i in range(frames)]


def frame_count(scene: Scene) -> int:
    """Number of frames of the clip as a video."""
    return round(scene.seconds * scene.fps)


def render(
    scene: Scene, times: Sequence[float], size: tuple[int, int] | None = None
) -> np.ndarray:
    """The frames at these times in seconds: (T, H, W, 3) uint8.

    size is (height, width) in pixels (default: that of the scene). The short edge always spans the central
    square of the scene, so (96, 96) is the model's view of a frame of any shape.
    """
    height, width = size or (scene.height, scene.width)
    at = np.asarray(times, dtype=np.float64)
    frames = _backgrounds(scene, at, height, width)
    for index, thing in enumerate(scene.things):
        _draw(frames, thing.kind, thing.texture == "striped", track(scene, index, at))
    if scene.noise > 0:
        frames += _noise(scene, at, height, width)
    return np.clip(frames + 0.5, 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- background and noise


def _axes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x of every column and y of every row, in halves of the short edge of the frame."""
    half = min(height, width) / 2
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / half
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / half
    return x[None, :], y[:, None]


def _background(name: str, height: int, width: int) -> np.ndarray:
    """The grey background of this name: (H, W)."""
    x, y = _axes(height, width)
    soft = min(height, width) / 2 * 0.1  # edges about a pixel wide
    if name == "dark":
        grey = np.full((height, width), 34.0)
    elif name == "light":
        grey = np.full((height, width), 224.0)
    elif name == "gradient":
        grey = 128 + 86 * np.clip(y + 0 * x, -1, 1)
    elif name == "checkered":
        wave = np.sin(np.pi * 2.5 * x) * np.sin(np.pi * 2.5 * y)
        grey = 118 + 34 * np.clip(wave * soft * 1.3, -1, 1)
    elif name == "striped":
        grey = 118 + 34 * np.clip(np.sin(np.pi * 3.5 * (x + y) * 0.71) * soft, -1, 1)
    else:  # dotted
        wave = np.sin(np.pi * 2.2 * x) * np.sin(np.pi * 2.2 * y)
        grey = 196 - 60 * np.clip((np.abs(wave) - 0.62) * soft * 1.6, 0, 1)
    return grey.astype(np.float32)


def _backgrounds(scene: Scene, times: np.ndarray, height: int, width: int) -> np.ndarray:
    frames = np.empty((len(times), height, width, 3), dtype=np.float32)
    frames[:] = _background(scene.background, height, width)[None, :, :, None]
    if scene.cut is not None:
        second = _background(scene.cut[1], height, width)
        frames[times >= scene.cut[0]] = second[None, :, :, None]
    return frames


def _noise(scene: Scene, times: np.ndarray, height: int, width: int) -> np.ndarray:
    """Grey noise, (T, H, W, 1): windows of one random field, at a different offset for each time."""
    rng = np.random.default_rng(scene.seed)
    field = rng.standard_normal((height + 16) * (width + 16), dtype=np.float32) * scene.noise
    step = np.round(times * 960).astype(np.int64)
    starts = (step * 2654435761) % (field.size - height * width)
    return np.stack([field[s : s + height * width] for s in starts]).reshape(-1, height, width, 1)


# ---------------------------------------------------------------- shapes

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 0.95


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - 0.8


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(y, 0.866 * np.abs(x) - 0.5 * y) - 0.58


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points: folds the plane to one half of a point, then takes the distance to its edge."""
    x, y = np.abs(x), -y
    for kx, ky in ((0.809017, -0.587785), (-0.809017, -0.587785)):
        beyond = 2 * np.maximum(kx * x + ky * y, 0)
        x, y = x - beyond * kx, y - beyond * ky
    x = np.abs(x)
    tip, edge_x, edge_y = 1.15, 0.5 * 0.587785, 0.5 * 0.809017 - 1
    return ((y - tip) * edge_x - x * edge_y) / np.float32(np.hypot(edge_x, edge_y))


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.68) - 0.28


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - 0.95, np.minimum(x, y) - 0.32)


SHAPES: dict[str, Distance] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
}


def _draw(frames: np.ndarray, kind: str, striped: bool, course: Track) -> None:
    """Blends one thing into all frames (float32, in place)."""
    height, width = frames.shape[1:3]
    half = min(height, width) / 2
    radius = course.radius * half
    side = int(np.ceil(2 * REACH * radius.max())) + 2
    left = np.floor(course.x * half + width / 2 - side / 2).astype(int)
    top = np.floor(course.y * half + height / 2 - side / 2).astype(int)
    x, y = _local_axes(course, left, top, side, height, width)
    distance = SHAPES[kind](x, y)
    pixels = radius[:, None, None].astype(np.float32)
    cover = np.clip(0.5 - distance * pixels, 0, 1) * course.opacity[:, None, None]
    inner = np.clip(0.5 - (distance + EDGE) * pixels, 0, 1)
    shade = DARK_EDGE + (1 - DARK_EDGE) * inner
    if striped:
        stripe = np.clip(0.5 + np.sin(2 * np.pi / 0.62 * x) * pixels * 0.1, 0, 1)
        shade = np.minimum(shade, DARK_STRIPE + (1 - DARK_STRIPE) * stripe)
    colour = (course.mix @ PALETTE).astype(np.float32)[:, None, None, :] * shade[..., None]
    cover = cover.astype(np.float32)[..., None]
    for t in range(len(frames)):
        x0, y0 = max(left[t], 0), max(top[t], 0)
        x1, y1 = min(left[t] + side, width), min(top[t] + side, height)
        window = frames[t, y0:y1, x0:x1]
        part = np.s_[t, y0 - top[t] : y1 - top[t], x0 - left[t] : x1 - left[t]]
        window += cover[part] * (colour[part] - window)


def _local_axes(
    course: Track, left: np.ndarray, top: np.ndarray, side: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates relative to the thing, in radii: two arrays (T, side, side)."""
    half = min(height, width) / 2
    ramp = np.arange(side) + 0.5
    x = (left[:, None] + ramp - width / 2) / half - course.x[:, None]
    y = (top[:, None] + ramp - height / 2) / half - course.y[:, None]
    x = (x / course.radius[:, None]).astype(np.float32)[:, None, :]
    y = (y / course.radius[:, None]).astype(np.float32)[:, :, None]
    angle = (2 * np.pi * course.angle).astype(np.float32)[:, None, None]
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


assert len(PALETTE) == len(COLOURS)
