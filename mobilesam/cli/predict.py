"""``mobilesam predict``: segment the objects that points and boxes mark, in one image or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options
from mobilesam.cli.model import ModelOptions, with_model_options
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
            "--multimask", help="Keep the three candidate masks of each prompt, best first, instead of one mask."
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
    """Segment the objects that points and boxes mark.

    mobilesam predict cat.jpg --point 320,240

    mobilesam predict cat.jpg --box 80,20,420,300 --box 10,10,70,90 --format cutout --out results

    Several points mark one object, several boxes mark several objects. Points can be combined with one box. Points of
    label 0 need a point of label 1 or a box. The files are named after the image (cat-overlay.png, cat-mask.png,
    cat-mask-2.png for the second object), and their paths are printed.

    One mask is kept for each object. --select chooses it among the four outputs of the decoder. learned: the mask of
    the highest confidence, the most accurate choice and the default for a single point or a box with the published
    weights. agreement: the mask that overlaps the others most, the default for a single point with other weights.
    single: the single-mask output, the default for all other prompts. score: the candidate mask with the highest
    predicted IoU, as in SAM's examples. A choice in a prompt file takes precedence over --select.

    An image that cannot be read or segmented is reported on stderr. The other images are processed, and the exit code
    is 1.
    """
    from mobilesam.cli.output import Output, timed, warnings_of
    from mobilesam.embedding import with_embeddings
    from mobilesam.segment import ALL, segment_objects

    if multimask and select:
        raise options.UsageError(sentence("--select", "be used without --multimask", "both", "omit one of them"))
    output = Output(
        images,
        out,
        formats,
        force=force,
        as_json=as_json,
        prompts=_prompts(point or [], box or [], prompts),
        masks_per_object=MULTIMASK_OUTPUTS if multimask else 1,
        read=[prompts] if prompts else [],
    )
    sam: MaskModel | None = None
    rule = ALL if multimask else select.value if select else None
    for files, image, milliseconds in output.read():
        # Loaded after the first image is read, so that a wrong path is reported at once.
        sam = sam or with_embeddings(network.load(threads), embeddings)
        try:
            with warnings_of(files.source):
                with timed(milliseconds, "encode"):
                    embedding = sam.encode(image, fast_padding=fast_padding)
                with timed(milliseconds, "decode"):
                    objects = segment_objects(sam, embedding, files.prompts, select=rule)
        except InputError as error:
            output.fail(files.source, error)
            continue
        output.write(files, image, [record for records in objects for record in records], milliseconds)
        for number, (best, *_) in enumerate(objects, start=1):
            share = best["area"] / (image.shape[0] * image.shape[1])
            quality = f"predicted IoU {best['predicted_iou']:.2f}"
            if "confidence" in best:
                quality = f"confidence {best['confidence']:.2f}"
            typer.echo(f"{files.source}: object {number}, {quality}, {share:.1%} of the image", err=True)
    output.finish()


def _prompts(points: list[str], boxes: list[str], prompts: Path | None) -> PromptFile:
    if prompts and (points or boxes):
        actual, remedy = "both", "write all prompts into the file"
        raise options.UsageError(sentence("--prompts", "be used without --point and --box", actual, remedy))
    if prompts:
        return read_prompts(prompts)
    if not (points or boxes):
        remedy = "add for example --point 320,240"
        raise options.UsageError(sentence("predict", "have --point, --box or --prompts", "none", remedy))
    return PromptFile(objects=tuple(options.parse_prompts(points, boxes)))
