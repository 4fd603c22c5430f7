"""A plot of outages as SVG, written by hand: one row of dots a kind, on a logarithmic axis of seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ha.figures import percentile

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 880, 320, 30, 34, 26, 44
COLOURS = {"multiaz": "#0b6e99", "Patroni": "#b3541e"}


@dataclass(frozen=True)
class Strip:
    """One row of dots."""

    label: str
    system: str
    seconds: Sequence[float]
    at_least: Sequence[float] = ()
    """Outages that were not over when the watch ended: drawn as arrows."""

    def title(self) -> str:
        """What the row is called: with its figures, so that a plot of other results than a table's is seen to be."""
        every = (*self.seconds, *self.at_least)
        return f"{self.label} (n={len(every)}, p50 {seconds(percentile(every, 0.5))} s)"


def seconds(value: float) -> str:
    """With three digits that count."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def svg(strips: Sequence[Strip]) -> str:
    """The picture; every value is a dot, the median a line."""
    values = [second for strip in strips for second in (*strip.seconds, *strip.at_least) if second > 0] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    high = max(high, low + 1)

    def x(value: float) -> float:
        share = (math.log10(max(value, 10**low)) - low) / (high - low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    height = TOP + ROW * len(strips) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" fill="#222222">Seconds without an acknowledged commit; a dot is a trial, '
        "a bar the median</text>",
    ]
    floor = TOP + ROW * len(strips)
    for power in range(low, high + 1):
        at = x(10.0**power)
        lines.append(f'<line x1="{at}" y1="{TOP}" x2="{at}" y2="{floor}" stroke="#cccccc"/>')
        lines.append(f'<text x="{at}" y="{floor + 18}" text-anchor="middle" fill="#222222">{10.0**power:g} s</text>')
    for number, strip in enumerate(strips):
        middle = TOP + ROW * number + ROW / 2
        colour = COLOURS.get(strip.system, "#444444")
        lines.append(f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end" fill="#222222">'
                     f"{escape(strip.title())}</text>")  # fmt: skip
        for place, outage in enumerate(strip.seconds):
            lines.append(f'<circle cx="{x(outage)}" cy="{middle + place % 5 * 2 - 4}" r="2.5" fill="{colour}" '
                         'fill-opacity="0.5"/>')  # fmt: skip
        for outage in strip.at_least:
            at = x(outage)
            lines.append(f'<path d="M{at} {middle - 5} l8 5 l-8 5 z" fill="none" stroke="{colour}"/>')
        median = x(percentile((*strip.seconds, *strip.at_least), 0.5))
        lines.append(f'<line x1="{median}" y1="{middle - 9}" x2="{median}" y2="{middle + 9}" stroke="{colour}" '
                     'stroke-width="2"/>')  # fmt: skip
    lines.append("</svg>")
    return "\n".join(lines) + "\n"
