"""Small line and bar charts as SVG, readable on light and dark pages.

    pathlib.Path("chart.svg").write_text(svg([Lines("norms", "norm", "share", {"text": [(0, 1), (1, 3)]})]))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 300  # per chart
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 58, 50  # margins of the plot area
GREY = "#808080"  # axes and text
COLOURS = ("#3b86c6", "#d97a2b", "#3f9e5a", "#b152b8", "#c94f4f", "#8a8d1f")


@dataclasses.dataclass(frozen=True)
class Lines:
    """Lines through points (x, y), by name."""

    title: str
    x_label: str
    y_label: str
    lines: dict[str, Sequence[tuple[float, float]]]
    x_range: tuple[float, float] | None = None  # of the axis; default: from 0 to the largest x
    x_powers: bool = False  # logarithmic axis; every x must be above 0

    def draw(self) -> list[str]:
        points = [point for line in self.lines.values() for point in line]
        across = self.x_range or (0.0, max((x for x, _ in points), default=1.0))
        x = Axis.of([math.log10(v) if self.x_powers else v for v in across], LEFT, WIDTH - RIGHT)
        y = Axis.of([0.0, *(y for _, y in points)], HEIGHT - BOTTOM, TOP)
        parts = frame(self.title, self.y_label, y, list(self.lines))
        for tick in x.ticks():
            words = number(10**tick if self.x_powers else tick)
            parts.append(text(x.at(tick), HEIGHT - BOTTOM + 16, words, "middle"))
        parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, self.x_label, "middle"))
        for place, line in enumerate(self.lines.values()):
            places = ((x.at(math.log10(a) if self.x_powers else a), y.at(b)) for a, b in line)
            path = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour(place)}" stroke-width="2" '
                         'stroke-linejoin="round"/>')
        return parts


@dataclasses.dataclass(frozen=True)
class Bars:
    """Groups of bars, with one bar per series in each group."""

    title: str
    y_label: str
    groups: Sequence[str]
    series: dict[str, Sequence[float]]

    def draw(self) -> list[str]:
        y = Axis.of([0.0, *(v for values in self.series.values() for v in values if math.isfinite(v))],
                    HEIGHT - BOTTOM, TOP)
        parts = frame(self.title, self.y_label, y, list(self.series))
        step = (WIDTH - LEFT - RIGHT) / max(len(self.groups), 1)
        bar = 0.8 * step / max(len(self.series), 1)
        for group, name in enumerate(self.groups):
            parts.append(text(LEFT + (group + 0.5) * step, HEIGHT - BOTTOM + 16, name, "middle"))
        for place, values in enumerate(self.series.values()):
            for group, value in enumerate(values):
                if not math.isfinite(value):
                    continue
                left, top = LEFT + (group + 0.1) * step + place * bar, y.at(value)
                parts.append(f'<rect x="{left + 1:.1f}" y="{top:.1f}" width="{max(bar - 2, 1):.1f}" '
                             f'height="{y.at(0) - top:.1f}" fill="{colour(place)}"/>')
                parts.append(text(left + bar / 2, top - 4, number(value), "middle", 10))
        return parts


@dataclasses.dataclass(frozen=True)
class Axis:
    """Maps values from low to high to pixels from start to end."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """The axis of these values, extended to whole ticks."""
        low, high = min(values), max(values)
        if high <= low:
            high = low + 1
        step = tick_step(high - low)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, start, end)

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        step = tick_step(self.high - self.low)
        return [self.low + i * step for i in range(round((self.high - self.low) / step) + 1)]


def tick_step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that the span has four to ten steps."""
    unit = 10 ** math.floor(math.log10(span / 4))
    return next(step for step in (5 * unit, 2 * unit, unit) if span / step >= 4)


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12, more: str = "") -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{GREY}"{more}>'
            f"{escape(words)}</text>")


def frame(title: str, y_label: str, y: Axis, names: Sequence[str]) -> list[str]:
    """Title, legend and y axis."""
    parts = [text(LEFT, 20, title, size=14, more=' font-weight="bold"')]
    left = float(LEFT)
    for place, name in enumerate(names):
        parts.append(f'<rect x="{left:.1f}" y="31" width="10" height="10" fill="{colour(place)}"/>')
        parts.append(text(left + 15, 40, name))
        left += 32 + 6.5 * len(name)
    for tick in y.ticks():
        at = y.at(tick)
        opacity = 1 if tick == 0 else 0.25
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="{GREY}" '
                     f'stroke-opacity="{opacity}"/>')
        parts.append(text(LEFT - 8, at + 4, number(tick), "end"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(text(16, middle, y_label, "middle", more=f' transform="rotate(-90 16 {middle:.1f})"'))
    return parts


def svg(charts: Sequence[Lines | Bars]) -> str:
    """The charts, stacked vertically on a transparent background."""
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * len(charts)}" '
             f'width="{WIDTH}" height="{HEIGHT * len(charts)}" font-family="sans-serif">']
    for place, chart in enumerate(charts):
        parts += [f'<g transform="translate(0 {place * HEIGHT})">', *chart.draw(), "</g>"]
    return "\n".join([*parts, "</svg>\n"])
