"""``mobilesam predict``: segment what points and boxes show, in one picture or many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.cli import options
from mobilesam.cli.pictures import failed, read_each, refuse_repeated_stdin, warnings_of
from mobilesam.errors import InputError, sentence
from mobilesam.prompts.file import read_prompts
from mobilesam.prompts.object_prompt import ObjectPrompt

if TYPE_CHECKING:
    from mobilesam.model import MaskModel

MULTIMASK_OUTPUTS = 3


def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures; - reads one from standard input.")],
    point: options.PointOption = None,
    box: options.BoxOption = None,
    prompts: options.PromptsOption = None,
    multimask: Annotated[
        bool,
        typer.Option(
            "--multimask", help="Keep the three multimask outputs of each prompt, best first, not only one mask."
        ),
    ] = False,
    select: options.SelectOption = None,
    fast_padding: options.FastPaddingOption = False,
    out: options.OutOption = Path(),
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="WORD,...",
            help="overlay: the picture with its masks; mask: 0 and 255; cutout: transparent outside. All are PNG.",
        ),
    ] = "overlay,mask",
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    model: options.ModelOption = None,
    backend: options.BackendOption = options.Backend.auto,
    device: options.DeviceOption = options.Device.auto,
    provider: options.ProviderOption = None,
    embeddings: options.EmbeddingsOption = None,
    threads: options.ThreadsOption = None,
) -> None:
    """Segment what points and boxes show.

    mobilesam predict cat.jpg --point 320,240

    mobilesam predict cat.jpg --box 80,20,420,300 --box 10,10,70,90 --format cutout --out results

    Several points are one object, several boxes are several objects; points go with at most one box. Points of label 0
    need one of label 1, or a box, beside them. The files are named after the picture (cat-overlay.png, cat-mask.png,
    cat-mask-2.png for the second object) and listed on stdout.

    One mask is kept for each object. --select says which of the decoder's four: agreement, the one that the others
    agree with, which is right most often for a single point and is the default for one; single, its single-mask output,
    the default for boxes and several points; score, the multimask output of the highest predicted IoU, as SAM's
    examples do. A mask that a prompt file chooses is kept whatever --select says.

    A picture that cannot be read or segmented is reported on stderr; the others are still done, and the exit code is 1.
    """
    from mobilesam.cli import output
    from mobilesam.cli.model import load_model
    from mobilesam.embedding import with_embeddings
    from mobilesam.formats import naming
    from mobilesam.segment import ALL, segment_objects

    words = options.parse_formats(formats, output.FORMATS)
    refuse_repeated_stdin(images)
    if multimask and select:
        actual = "both"
        raise options.UsageError(sentence("--select", "stand without --multimask", actual, "leave one of them out"))
    wanted = _wanted(images, point or [], box or [], prompts)
    names = naming.name_outputs(images, out)
    ranks = MULTIMASK_OUTPUTS if multimask else 1
    planned = [path for name, found in zip(names, wanted, strict=True) for path in name.all(words, len(found), ranks)]
    naming.refuse_overwriting(planned, images, force)

    network: MaskModel | None = None
    rule = ALL if multimask else select.value if select else None
    pictures: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    for source, (objects, name), image, clock in read_each(images, list(zip(wanted, names, strict=True)), errors):
        # Loaded only now, so that a mistyped path is told at once.
        if network is None:
            network = with_embeddings(load_model(model, backend, device, threads, provider), embeddings)
        try:
            with warnings_of(source):
                with clock.measure("encode"):
                    embedding = network.encode(image, fast_padding=fast_padding)
                with clock.measure("decode"):
                    found = segment_objects(network, embedding, objects, select=rule)
        except InputError as error:
            errors.append(failed(source, error))
            continue
        with clock.measure("write"):
            picture = output.write_picture(name, image, objects, found, words, force)
        size = {"image": source, "width": image.shape[1], "height": image.shape[0]}
        pictures.append(size | picture | {"timings_ms": clock.milliseconds})
        for number, (best, *_) in enumerate(found, start=1):
            share = best["area"] / (image.shape[0] * image.shape[1])
            typer.echo(
                f"{source}: object {number}, score {best['predicted_iou']:.2f}, {share:.1%} of the picture", err=True
            )
        if not as_json:
            typer.echo("\n".join(output.written(picture)))
    if as_json:
        typer.echo(json.dumps({"version": 1, "images": pictures, "errors": errors}, indent=2))
    if errors:
        raise typer.Exit(1)


def _wanted(images: list[str], points: list[str], boxes: list[str], prompts: Path | None) -> list[list[ObjectPrompt]]:
    """Return the objects wanted in each picture."""
    if prompts and (points or boxes):
        actual = "--point or --box beside it"
        raise options.UsageError(sentence("--prompts", "stand alone", actual, "put all prompts into the file"))
    if prompts:
        file = read_prompts(prompts)
        return [file.for_image(image) for image in images]
    if not (points or boxes):
        remedy = "add for example --point 320,240"
        raise options.UsageError(sentence("predict", "be given a --point, a --box or --prompts", "none", remedy))
    return [options.parse_prompts(points, boxes)] * len(images)
