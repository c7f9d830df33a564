"""The vocabulary of options, the same in every command, and how prompts are read from text."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mobilesam.errors import InputError, MobileSamError, sentence, unknown_name
from mobilesam.prompts.file import ObjectPrompt, group


class UsageError(MobileSamError):
    """The options of a command do not go together, or one cannot be read; exit code 2."""


class Backend(enum.StrEnum):
    """What runs the network."""

    auto = "auto"
    torch = "torch"
    onnx = "onnx"


class Select(enum.StrEnum):
    """Which of a prompt's masks is the answer: the rules of :mod:`mobilesam.masks.selection`."""

    agreement = "agreement"
    score = "score"
    single = "single"


class Mode(enum.StrEnum):
    """How thoroughly everything mode looks."""

    exact = "exact"
    balanced = "balanced"
    fast = "fast"


class Device(enum.StrEnum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        help="A weights name, a checkpoint, or a folder with an ONNX pair. Default: MobileSAM, fetched on first use.",
    ),
]
BackendOption = Annotated[Backend, typer.Option("--backend", help="What runs the network.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the network runs; auto takes the fastest.")]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="ONNX Runtime's execution provider, such as cuda or openvino; instead of --device.",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads. Default: the backend's choice.")
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="WORD,...",
        help="overlay: the image with its masks; mask, cutout: a PNG for each mask; indexed, instances: one PNG with "
        "the numbers of the masks; labelme, yolo, csv, geojson: a file for each image; coco, parquet: one file for "
        "all images.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made if absent.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")]
PointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        metavar="X,Y[,LABEL]",
        help="A point in pixels; label 1 (default) lies on the object, 0 does not. Several points are one object.",
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="X1,Y1,X2,Y2", help="A box in pixels. Several boxes are several objects."),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", help="Prompts for one or many images, as JSON; instead of the two above."
    ),
]


EmbeddingsOption = Annotated[
    Path | None,
    typer.Option("--embeddings", metavar="DIR", help="Embeddings that mobilesam embed made."),
]
SelectOption = Annotated[
    Select | None,
    typer.Option("--select", help="Which of the model's masks is the answer; see below.", show_default=False),
]
FastPaddingOption = Annotated[
    bool,
    typer.Option(
        "--fast-padding",
        help="Encode only what an image covers of the padded square: faster from the second image on, as "
        "accurate, not equal to the reference.",
    ),
]
ModeOption = Annotated[
    Mode, typer.Option("--mode", help="exact segments at every point; balanced and fast skip points.")
]
PointsPerSideOption = Annotated[
    int,
    typer.Option("--points-per-side", min=1, max=256, metavar="N", help="Points on a side of the grid, at most 256."),
]
TileSizeOption = Annotated[
    int | None,
    typer.Option("--tile-size", min=64, metavar="PIXELS", help="Also look at tiles of this size, for small objects."),
]
MinAreaOption = Annotated[int, typer.Option("--min-area", min=0, metavar="PIXELS", help="Leave out smaller masks.")]
MaxMasksOption = Annotated[
    int | None, typer.Option("--max-masks", min=1, metavar="N", help="Keep at most so many, the best scored.")
]


def parse_prompts(points: Iterable[str], boxes: Iterable[str]) -> list[ObjectPrompt]:
    """Return the objects that ``--point`` and ``--box`` stand for.

    Raises:
        UsageError: one cannot be read, or there are points beside several boxes.
    """
    read_points, read_boxes = [parse_point(text) for text in points], [parse_box(text) for text in boxes]
    try:
        return group(read_points, read_boxes)
    except InputError as error:
        raise UsageError(str(error)) from error


def parse_point(text: str) -> tuple[float, float, float]:
    """Read ``x,y`` or ``x,y,label``; the label is 1 if it is left out.

    Raises:
        UsageError: it is neither, or the label is not 0 or 1.
    """
    numbers = _numbers(text)
    if len(numbers) not in (2, 3):
        raise UsageError(sentence("--point", "be X,Y or X,Y,LABEL", repr(text), "write for example --point 320,240"))
    x, y, label = numbers if len(numbers) == 3 else (*numbers, 1)
    if label not in (0, 1):
        raise UsageError(
            sentence("the label of --point", "be 1 or 0", f"{label:g} in {text!r}", "1 lies on the object")
        )
    return x, y, label


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Read ``x1,y1,x2,y2``; whether that is a box is for :mod:`mobilesam.prompts.arrays` to say.

    Raises:
        UsageError: it is not four numbers.
    """
    numbers = _numbers(text)
    if len(numbers) != 4:
        raise UsageError(sentence("--box", "be X1,Y1,X2,Y2", repr(text), "write for example --box 80,20,420,300"))
    x1, y1, x2, y2 = numbers
    return x1, y1, x2, y2


def parse_formats(text: str, known: Iterable[str]) -> list[str]:
    """Read a comma-separated list of ``--format`` words, each once, in the order given.

    Raises:
        UsageError: a word is not among ``known``, or there is none.
    """
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    known = list(known)
    for word in words or [""]:
        if word not in known:
            raise UsageError(unknown_name("--format", word, known))
    return words


def _numbers(text: str) -> list[float]:
    """Return the comma-separated finite numbers in ``text``, or none at all if one part is not such a number."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


# Options that had another name in the release before.
_RENAMED = {"--preset": "--mode", "--grid": "--points-per-side", "--tiles": "--tile-size"}


class RenamingCommand(TyperCommand):
    """A command that still takes the old names of its options, with a warning."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments after replacing old names."""
        end = args.index("--") if "--" in args else len(args)  # what follows is no option
        return super().parse_args(ctx, [*map(_renamed, args[:end]), *args[end:]])


def _renamed(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if name not in _RENAMED:
        return argument
    typer.echo(f"warning: {name} is now {_RENAMED[name]}. The old name goes with release 0.3.", err=True)
    return f"{_RENAMED[name]}{equals}{value}"
