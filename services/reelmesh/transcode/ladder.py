"""Chooses the renditions of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_CEILINGS = (
    (2160, 16_000_000),
    (1440, 9_000_000),
    (1080, 5_500_000),
    (720, 3_000_000),
    (480, 1_400_000),
    (360, 800_000),
    (240, 400_000),
    (144, 200_000),
)
"""Bits per second that a 16:9 rung of that height may take at 30 frames per second."""
_DROPPED_FIRST = (240, 480, 1440)
"""Rungs of a long ladder that are missed least, as their neighbours are near."""
_NEAREST = 1.1
"""A rung less than this many times smaller than the source is no use beside the source's own size."""


@dataclass(frozen=True)
class LadderSettings:
    """What an operator may choose."""

    heights: tuple[int, ...] = (2160, 1440, 1080, 720, 480, 360, 240)
    """Heights of the rungs for a landscape picture, widths for a portrait one; highest first."""
    most: int = 5
    """Rungs at most."""
    fewest: int = 3
    """Below this many, 144 is added where the source is larger."""
    crf: float = 23.0
    """Constant rate factor of x264; less is better."""


@dataclass(frozen=True)
class Rung:
    """One rendition."""

    track: str
    """Track, such as "v1080"."""
    width: int
    """Pixels, even."""
    height: int
    """Pixels, even."""
    crf: float
    """Constant rate factor."""
    max_bitrate: int
    """Ceiling in bits per second."""


def rungs(width: int, height: int, rate: Fraction, settings: LadderSettings) -> list[Rung]:
    """Return the ladder for a picture shown at `width` by `height` pixels and `rate` frames per second, best first.

    A rung is named and measured by its shorter side, so that a portrait film gets the same ladder as a landscape one.
    No rung is larger than the source; the source's own size, made even, leads when no named rung is near it.
    """
    short, long = sorted((width, height))
    own = max(2, short // 2 * 2)
    sizes = [size for size in settings.heights if size <= own]
    if not sizes or (own < settings.heights[0] and own not in sizes):
        sizes = [own, *(size for size in sizes if own / size >= _NEAREST)]
    if len(sizes) < settings.fewest and sizes[-1] / 144 >= _NEAREST:
        sizes.append(144)
    for unneeded in _DROPPED_FIRST:
        if len(sizes) > settings.most and unneeded in sizes[1:]:
            sizes.remove(unneeded)
    ladder = []
    for size in sizes[: settings.most]:
        other = max(2, round(Fraction(size * long, short) / 2) * 2)
        shape = (other, size) if width >= height else (size, other)
        ceiling = _ceiling(shape[0] * shape[1], rate)
        ladder.append(Rung(f"v{size}", *shape, crf=settings.crf, max_bitrate=ceiling))
    return ladder


def _ceiling(pixels: int, rate: Fraction) -> int:
    """Interpolate the table by pixels, and scale by frame rate: twice the frames need some 1.6 times the bits."""
    table = [(height * height * 16 / 9, bits) for height, bits in reversed(_CEILINGS)]
    place = next((place for place, (most, _) in enumerate(table) if pixels <= most), len(table) - 1)
    (low, low_bits), (high, high_bits) = table[max(0, place - 1)], table[max(1, place)]
    share = max(0.0, min(1.0, (pixels - low) / (high - low)))
    bits = low_bits + share * (high_bits - low_bits)
    scale: float = min(1.8, max(0.5, (float(rate) / 30) ** 0.7))
    return max(100_000, round(bits * scale / 10_000) * 10_000)
