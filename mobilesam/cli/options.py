"""The options that commands share, and parsers of their text."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from mobilesam.config import BFLOAT16, FLOAT32
from mobilesam.errors import InputError, MobileSamError, sentence, unknown_name
from mobilesam.prompts.file import ObjectPrompt, group


class UsageError(MobileSamError):
    """Options of a command are incompatible, or one cannot be parsed; exit code 2."""


class Backend(enum.StrEnum):
    """The runtime of the network."""

    auto = "auto"
    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"
    litert = "litert"
    ncnn = "ncnn"


class Precision(enum.StrEnum):
    """The type of the network's matrix products."""

    float32 = FLOAT32
    bfloat16 = BFLOAT16


class Select(enum.StrEnum):
    """The rules of :mod:`mobilesam.masks.selection`."""

    learned = "learned"
    agreement = "agreement"
    score = "score"
    single = "single"


class Mode(enum.StrEnum):
    """How many points everything mode segments."""

    exact = "exact"
    balanced = "balanced"
    fast = "fast"


class Device(enum.StrEnum):
    """The device of the network."""

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
BackendOption = Annotated[
    Backend,
    typer.Option(
        "--backend", help="Runtime of the network; auto is ONNX Runtime on a CPU, PyTorch on its accelerators."
    ),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Device of the network; auto chooses the fastest.")]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Execution provider of ONNX Runtime, such as cuda or openvino; replaces --device.",
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option("--precision", help="Of matrix products. bfloat16 needs --backend openvino and such a processor."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads. Default: the backend's choice.")
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT,...",
        help="overlay: the image with its masks; mask, cutout: a PNG for each mask; indexed, instances: one PNG with "
        "the numbers of the masks; labelme, yolo, csv, geojson: a file for each image; coco, parquet: one file for "
        "all images.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files, created if needed.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")]
PointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        metavar="X,Y[,LABEL]",
        help="A point in pixels; label 1 (default) is on the object, 0 is not. Several points mark one object.",
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="X1,Y1,X2,Y2", help="A box in pixels. Several boxes mark several objects."),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", help="Prompts for one or many images, as JSON; replaces --point and --box."
    ),
]
EmbeddingsOption = Annotated[
    str | None,
    typer.Option("--embeddings", metavar="DIR", help="Folder or URL of embeddings that mobilesam embed wrote."),
]
SelectOption = Annotated[
    Select | None,
    typer.Option("--select", help="How to choose among the candidate masks; see below.", show_default=False),
]
FastPaddingOption = Annotated[
    bool,
    typer.Option(
        "--fast-padding",
        help="Encode only the part of the padded square that the image covers: faster from the second image on, and "
        "as accurate, but not identical to the reference.",
    ),
]
ModeOption = Annotated[Mode, typer.Option("--mode", help="exact segments every point; balanced and fast skip points.")]
PointsPerSideOption = Annotated[
    int,
    typer.Option(
        "--points-per-side", min=1, max=256, metavar="N", help="Points along each side of the image, at most 256."
    ),
]
TileSizeOption = Annotated[
    int | None,
    typer.Option("--tile-size", min=64, metavar="PIXELS", help="Also segment tiles of this size, for small objects."),
]
MinAreaOption = Annotated[int, typer.Option("--min-area", min=0, metavar="PIXELS", help="Leave out smaller masks.")]
MaxMasksOption = Annotated[
    int | None, typer.Option("--max-masks", min=1, metavar="N", help="Keep at most N masks, best first.")
]


def parse_prompts(points: Iterable[str], boxes: Iterable[str]) -> list[ObjectPrompt]:
    """Return the objects that ``--point`` and ``--box`` mark.

    Raises:
        UsageError: one cannot be parsed, or there are points and several boxes.
    """
    read_points, read_boxes = [parse_point(text) for text in points], [parse_box(text) for text in boxes]
    try:
        return group(read_points, read_boxes)
    except InputError as error:
        raise UsageError(str(error)) from error


def parse_point(text: str) -> tuple[float, float, float]:
    """Parse ``x,y`` or ``x,y,label``; the default label is 1.

    Raises:
        UsageError: the text is neither, or the label is not 0 or 1.
    """
    numbers = _numbers(text)
    if len(numbers) not in (2, 3):
        raise UsageError(sentence("--point", "be X,Y or X,Y,LABEL", repr(text), "write for example --point 320,240"))
    x, y, label = numbers if len(numbers) == 3 else (*numbers, 1)
    if label not in (0, 1):
        remedy = "1 is on the object, 0 is not"
        raise UsageError(sentence("the label of --point", "be 1 or 0", f"{label:g} in {text!r}", remedy))
    return x, y, label


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Parse ``x1,y1,x2,y2``; :mod:`mobilesam.prompts.arrays` checks the order of the corners.

    Raises:
        UsageError: the text is not four numbers.
    """
    numbers = _numbers(text)
    if len(numbers) != 4:
        raise UsageError(sentence("--box", "be X1,Y1,X2,Y2", repr(text), "write for example --box 80,20,420,300"))
    x1, y1, x2, y2 = numbers
    return x1, y1, x2, y2


def parse_formats(text: str, known: Iterable[str]) -> list[str]:
    """Parse the comma-separated names of ``--format``, each once, in the order given.

    Raises:
        UsageError: a name is not in ``known``, or there is none.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    known = list(known)
    for name in names or [""]:
        if name not in known:
            raise UsageError(unknown_name("--format", name, known))
    return names


def _numbers(text: str) -> list[float]:
    """Return the comma-separated numbers in ``text``, or an empty list if a part is not a finite number."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


# Deprecated names of options.
_RENAMED = {"--preset": "--mode", "--grid": "--points-per-side", "--tiles": "--tile-size"}


class Command(TyperCommand):
    """A command that accepts deprecated names of options, and whose help is plain under every version of Typer."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        parameters: list[Any] = self.params
        for parameter in parameters:
            kind = getattr(parameter, "type_descriptor", getattr(parameter, "type", None))  # by version of Typer
            if isinstance(parameter, TyperArgument) or getattr(parameter, "is_flag", False):
                parameter.display_type_rich = lambda ctx: None
            elif parameter.metavar is None and (choices := getattr(kind, "choices", None)):
                parameter.metavar = "|".join(str(getattr(each, "value", each)) for each in choices)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return ``[OPTIONS] IMAGE...`` for the line of usage."""
        pieces = ["[OPTIONS]"]
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                name = parameter.metavar or (parameter.name or "").upper()
                pieces.append(name + ("..." if parameter.nargs == -1 and not name.endswith("...") else ""))
        return pieces

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace deprecated names, and parse the arguments."""
        end = args.index("--") if "--" in args else len(args)  # arguments after it are not options
        return super().parse_args(ctx, [*map(_renamed, args[:end]), *args[end:]])


def _renamed(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if name not in _RENAMED:
        return argument
    typer.echo(f"warning: {name} is now {_RENAMED[name]}. The old name will be removed in release 0.3.", err=True)
    return f"{_RENAMED[name]}{equals}{value}"
