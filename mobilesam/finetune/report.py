"""The report of a training run: what it did to the masks of held-back images, for people and for programs."""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilesam.errors import MissingDependencyError
from mobilesam.evaluate import Dataset, Evaluation
from mobilesam.files import refuse_existing, write_bytes
from mobilesam.finetune import changes
from mobilesam.finetune.comparison import FEW, Comparison, compare
from mobilesam.finetune.report_text import NOT_MEASURED, NOT_USABLE, counted, numbers, to_markdown, verdict

FORMAT = "mobilesam-finetune-report-1"
DOCUMENT, TEXT = "report.json", "report.md"
CURVE, CHANGES = "curve", "changes"
_SHORT = ("iou", "best_of_three", "clicks_85", "clicks_90")


def write_report(
    folder: Path,
    about: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    before: Evaluation | None,
    after: Evaluation | None,
    dataset: Dataset,
    *,
    force: bool,
) -> list[Path]:
    """Write the report of a run into a folder, and return the paths of its files.

    They are report.json, report.md, curve.svg, curve.png and, if an object changed, changes.png. Without matplotlib,
    there are no plots, and a warning.

    Args:
        about: the facts of the run, as JSON values: "images" and "objects" (numbers by use, such as "training" and
            "held_back"), "steps" ("planned", "done", "chosen"), "stopped", "settings", "seconds" by stage, "weights"
            (digests, "before" and "after"), "threads", "versions", "choosers", "skipped" (sentences).
        history: rows with "step", "loss" (mean since the row before; not at step 0), and "box", "point" and "best",
            the mean IoUs on held-back images if there are any.
        before, after: evaluations of the weights before and after the run on the held-back images, if there are any.
        dataset: the held-back images.
        force: overwrite files that exist; plots of an earlier run that are not written again are removed.

    Raises:
        InputError: a file exists and ``force`` is false, or the folder is not writable.
    """
    names = (DOCUMENT, TEXT, f"{CURVE}.svg", f"{CURVE}.png", f"{CHANGES}.png")
    for name in names:
        refuse_existing(folder / name, force=force)
    comparison = compare(before, after)
    plots = _plots(about, history, comparison, dataset)
    document = _finite({"format": FORMAT, **about, "history": list(history), "held_back": None})
    if comparison is not None and before is not None and after is not None:
        document["held_back"] = _finite(_measured(comparison, before, after))
    contents = {
        DOCUMENT: _encoded(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"),
        TEXT: _encoded(to_markdown(about, comparison, sorted(plots))),
        **plots,
    }
    for name in names:
        if name in contents:
            write_bytes(folder / name, contents[name], force=force)
        else:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in names if name in contents]


def summary_lines(before: Evaluation | None, after: Evaluation | None) -> list[str]:
    """Return a short table of what changed on the held-back images, for a terminal."""
    comparison = compare(before, after)
    if comparison is None:
        return [NOT_MEASURED if before is None else NOT_USABLE]
    rows = [[counted(comparison), "before", "after", "difference", "95 % interval"]]
    rows += [[change.label, *numbers(change)] for change in comparison.changes if change.measure in _SHORT]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for label, *cells in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([label.ljust(widths[0]), *aligned]).rstrip())
    few = [f"These are few objects (under {FEW}); the result is uncertain."] if len(comparison.objects) < FEW else []
    return [*lines, verdict(comparison), *few]


def _plots(
    about: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    comparison: Comparison | None,
    dataset: Dataset,
) -> dict[str, bytes]:
    """Return the plots by file name; none and a warning if matplotlib is not installed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            if changes.can_draw_course(history):
                chosen = about["steps"]["chosen"] if any("box" in row for row in history) else None
                changes.draw_course(folder / CURVE, history, chosen)
            if comparison is not None and any(changes.largest_changes(comparison)):
                changes.draw_changes(folder / CHANGES, comparison, dataset)
        except MissingDependencyError as error:
            warnings.warn(str(error), stacklevel=3)
        (folder / f"{CHANGES}.svg").unlink(missing_ok=True)  # photos in it take several megabytes
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _measured(comparison: Comparison, before: Evaluation, after: Evaluation) -> dict[str, Any]:
    return {
        "images": comparison.images,
        "objects": len(comparison.objects),
        "changes": [change._asdict() for change in comparison.changes],
        "categories": [
            {"category": each.category, "objects": each.objects, "mean_ious": each.mean_ious}
            for each in comparison.categories()
        ],
        "ious": [
            {
                "file_name": each.file_name,
                "annotation_id": each.before["annotation_id"],
                "category": each.category,
                **{kind: each.ious(kind) for kind in comparison.kinds},
            }
            for each in comparison.objects
        ],
        "before": before.summary,
        "after": after.summary,
    }


def _finite(value: Any) -> Any:
    """Return JSON values with None for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")  # half of a surrogate pair, in the name of a file
