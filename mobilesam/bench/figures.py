"""Figures by matplotlib, which is optional: written as SVG and PNG, the same bytes for the same content."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam.errors import missing_dependency
from mobilesam.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINES = "#282c34", "#6b7280", "#e2e5ea"
COLORS = ("#3d9eff", "#fe674b", "#00c28c", "#be78f8", "#d39100", "#00b4f2")  # palette(6) of mobilesam.visualize

_STYLE: Any = {  # Any, because matplotlib types the keys
    "figure.dpi": 150,
    "font.size": 10,
    "text.color": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler(color={list(COLORS)})",
    "axes.grid": True,
    "grid.color": LINES,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "svg.hashsalt": "mobilesam",
}


def files_of(stem: Path) -> tuple[Path, Path]:
    """Return the SVG and the PNG that :func:`figure` writes."""
    return stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")


@contextlib.contextmanager
def figure(stem: Path, width: float = 6.4, height: float = 3.8) -> Iterator[Figure]:
    """Yield an empty figure of this size in inches, and write it to ``stem``.svg and ``stem``.png after the block.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_dependency("matplotlib", "plots", "drawing plots") from error
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # in the name of a file or category
        matplotlib.rcdefaults()  # the figure does not depend on a user's matplotlibrc
        matplotlib.rcParams.update(_STYLE)
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn
        for path, metadata in zip(files_of(stem), ({"Date": None}, {}), strict=True):
            with atomic_path(path) as temporary:
                drawn.savefig(temporary, format=path.suffix[1:], metadata=metadata)


def plain(text: str, length: int) -> str:
    """Return text that any figure can show: at most ``length`` characters, unprintable ones replaced."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
