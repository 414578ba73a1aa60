"""Draws the pictures of a seeded library: one for each theme, in colorings that its address chooses.

`python -m reelmesh_tools.library.artwork` writes them where the web player carries them. An address such as
/artwork/sea.svg#p7 shows the seventh coloring, in whatever shape the page gives it: the drawing fills it.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

from reelmesh_tools.library.facts import PALETTES
from reelmesh_tools.library.words import listed

FOLDER = Path("gateway/web/public/artwork")


def drawing(theme: str) -> str:
    """Return a theme's drawing, as SVG."""
    colors = "".join(f"#p{place}:target~g{{{_colors(place)}}}" for place in range(PALETTES))
    marks = "".join(f'<path id="p{place}"/>' for place in range(PALETTES))
    shapes = "".join(listed("drawings")[theme])
    style = f"g{{{_colors(0)}}}{colors}.a{{fill:var(--a)}}.b{{fill:var(--b)}}.c{{fill:var(--c)}}.d{{fill:var(--d)}}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" preserveAspectRatio="xMidYMid slice">'
        f"<style>{style}</style>{marks}"
        f'<g><path class="a" d="M0 0h100v100H0z"/>{shapes}</g></svg>\n'
    )


def _colors(place: int) -> str:
    hue = (place * 0.381966) % 1  # by the golden angle, so that neighbours differ
    ground, lies = _hex(hue, 0.22, 0.45), _hex(hue + 0.04, 0.42, 0.4)
    shines, dark = _hex(hue + 0.45, 0.72, 0.75), _hex(hue - 0.05, 0.10, 0.5)
    return f"--a:{ground};--b:{lies};--c:{shines};--d:{dark}"


def _hex(hue: float, lightness: float, saturation: float) -> str:
    return "#" + "".join(f"{round(each * 255):02x}" for each in colorsys.hls_to_rgb(hue % 1, lightness, saturation))


def main() -> None:
    """Write all drawings."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for theme in listed("drawings"):
        (FOLDER / f"{theme}.svg").write_text(drawing(theme), encoding="utf-8")


if __name__ == "__main__":
    main()
