"""``mobilesam predict``: segment what points and boxes show, in one image or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options
from mobilesam.cli.model import ModelOptions, with_model_options
from mobilesam.cli.sources import warnings_of
from mobilesam.errors import InputError, sentence
from mobilesam.prompts.file import PromptFile, read_prompts

if TYPE_CHECKING:
    from mobilesam.model import MaskModel

MULTIMASK_OUTPUTS = 3


@with_model_options
def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images; - reads one from standard input.")],
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
    formats: options.FormatOption = "overlay,mask",
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    embeddings: options.EmbeddingsOption = None,
    threads: options.ThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Segment what points and boxes show.

    mobilesam predict cat.jpg --point 320,240

    mobilesam predict cat.jpg --box 80,20,420,300 --box 10,10,70,90 --format cutout --out results

    Several points are one object, several boxes are several objects; points go with at most one box. Points of label 0
    need one of label 1, or a box, beside them. The files are named after the image (cat-overlay.png, cat-mask.png,
    cat-mask-2.png for the second object) and listed on stdout.

    One mask is kept for each object. --select says which of the decoder's four: agreement, the one that the others
    agree with, which is right most often for a single point and is the default for one; single, its single-mask output,
    the default for boxes and several points; score, the multimask output of the highest predicted IoU, as SAM's
    examples do. A mask that a prompt file chooses is kept whatever --select says.

    An image that cannot be read or segmented is reported on stderr; the others are still done, and the exit code is 1.
    """
    from mobilesam.cli.output import Output
    from mobilesam.embedding import with_embeddings
    from mobilesam.segment import ALL, segment_objects

    if multimask and select:
        actual = "both"
        raise options.UsageError(sentence("--select", "stand without --multimask", actual, "leave one of them out"))
    output = Output(
        images,
        out,
        formats,
        force=force,
        as_json=as_json,
        prompts=_wanted(point or [], box or [], prompts),
        masks_per_object=MULTIMASK_OUTPUTS if multimask else 1,
        read=[prompts] if prompts else [],
    )
    sam: MaskModel | None = None
    rule = ALL if multimask else select.value if select else None
    for files, image, clock in output.read():
        # Loaded only now, so that a mistyped path is reported at once.
        sam = sam or with_embeddings(network.load(threads), embeddings)
        try:
            with warnings_of(files.source):
                with clock.measure("encode"):
                    embedding = sam.encode(image, fast_padding=fast_padding)
                with clock.measure("decode"):
                    found = segment_objects(sam, embedding, files.prompts, select=rule)
        except InputError as error:
            output.fail(files.source, error)
            continue
        output.write(files, image, [record for records in found for record in records], clock)
        for number, (best, *_) in enumerate(found, start=1):
            share = best["area"] / (image.shape[0] * image.shape[1])
            typer.echo(
                f"{files.source}: object {number}, score {best['predicted_iou']:.2f}, {share:.1%} of the image",
                err=True,
            )
    output.finish()


def _wanted(points: list[str], boxes: list[str], prompts: Path | None) -> PromptFile:
    """Return the objects wanted in the images."""
    if prompts and (points or boxes):
        actual = "--point or --box beside it"
        raise options.UsageError(sentence("--prompts", "stand alone", actual, "put all prompts into the file"))
    if prompts:
        return read_prompts(prompts)
    if not (points or boxes):
        remedy = "add for example --point 320,240"
        raise options.UsageError(sentence("predict", "be given a --point, a --box or --prompts", "none", remedy))
    return PromptFile(objects=tuple(options.parse_prompts(points, boxes)))
