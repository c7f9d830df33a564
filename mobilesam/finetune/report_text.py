"""The report of a training run as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mobilesam.bench.figures import plain
from mobilesam.evaluate.report import table
from mobilesam.finetune.comparison import FEW, CategoryChange, Change, Comparison

MATTERS = 0.01  # smallest difference of a mean IoU that is called better or worse
MOST_CATEGORIES = 20
MOST_SKIPPED = 50  # sentences in the text; the JSON has all
NOT_MEASURED = "No images were held back, so the effect of the run was not measured."
NOT_USABLE = "No object of the held-back images could be measured."
REMEDY = (
    "Hold images back (at least three annotated images are needed), or compare the weights from before and after the "
    "run with `mobilesam eval` on annotated images that were not trained on."
)
_PROMPTS = {"box": "a box", "point": "one click"}


def to_markdown(about: Mapping[str, Any], comparison: Comparison | None, plots: Sequence[str]) -> str:
    """Return the report as Markdown.

    about: see :func:`mobilesam.finetune.report.write_report`.
    plots: names of the plots beside the report.
    """
    parts = ["# Fine-tuning report"]
    if comparison is None:
        measured = about["images"]["held_back"]
        parts.append(NOT_USABLE if measured else NOT_MEASURED)
        parts.append(REMEDY)
    else:
        parts += _held_back(about, comparison)
        if "changes.png" in plots:
            parts += ["## Objects that changed most", "![Masks before and after the run](changes.png)"]
    if "curve.png" in plots:
        parts += ["## Course of the training", "![Loss and IoU over the steps](curve.png)"]
    parts += ["## Run", _run(about)]
    if about.get("choosers"):
        rows = [[_cell(name), _cell(value)] for name, value in _flat(about["choosers"])]
        parts += ["## Choosers", table(["fact", "value"], rows)]
    if about["skipped"]:
        lines = [f"- {_cell(sentence)}" for sentence in about["skipped"][:MOST_SKIPPED]]
        if len(about["skipped"]) > MOST_SKIPPED:
            lines.append(f"- {len(about['skipped']) - MOST_SKIPPED} more, see report.json")
        parts += [f"## Skipped inputs ({len(about['skipped'])})", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _held_back(about: Mapping[str, Any], comparison: Comparison) -> list[str]:
    if about["steps"]["chosen"] == 0:
        conclusion = (
            "No measurement during the run was better than the first one, so the weights are those from before."
        )
    else:
        conclusion = verdict(comparison)
    parts = [f"**{conclusion}**"]
    if len(comparison.objects) < FEW:
        parts.append(
            f"**Few objects.** The figures rest on {counted(comparison)}, which is little: other held-back images may "
            f"give another result. With {FEW} objects or more they are more reliable."
        )
    rows = [
        [change.label, *numbers(change), f"{100 * change.better:.0f} %", f"{100 * change.worse:.0f} %"]
        for change in comparison.changes
    ]
    head = ["measure", "before", "after", "difference", "95 % interval", "better", "worse"]
    parts += [
        "## Held-back images",
        f"Means over {counted(comparison)} that were not trained on, with the same prompts before and after the run:",
        table(head, rows),
        "\n".join(_notes(comparison)),
    ]
    categories = comparison.categories()
    if 2 <= len(categories) <= MOST_CATEGORIES:
        parts += ["## Mean IoU by category", _category_table(comparison, categories)]
    return parts


def _category_table(comparison: Comparison, categories: Sequence[CategoryChange]) -> str:
    kinds = [kind for kind in comparison.kinds if kind in _PROMPTS]
    head = ["category", "objects"]
    for kind in kinds:
        head += [f"{_PROMPTS[kind].removeprefix('a ')}: {column}" for column in ("before", "after", "difference")]
    rows = []
    for each in categories:
        row = [_cell(each.category or "(none)"), str(each.objects)]
        for before, after in (each.mean_ious[kind] for kind in kinds):
            row += [f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}"]
        rows.append(row)
    return table(head, rows)


def _notes(comparison: Comparison) -> Iterator[str]:
    if "point" in comparison.kinds:
        yield (
            "- One click: on the innermost point of the object. Of the three candidate masks, the one with the highest "
            "predicted IoU is taken; the best of three is the one that fits the annotation best."
        )
    yield (
        "- Error of the predicted IoU: the mean distance of the predicted from the true IoU; less is better. Boundary "
        "IoU: the IoU of the borders of both masks."
    )
    if "clicks" in comparison.kinds:
        yield "- Clicks: the first one, then each on the largest error. An object that needs more counts as the most."
    yield (
        "- Better, worse: the share of objects that changed by more than 0.02. The interval of the difference is a "
        "paired bootstrap over images and their objects."
    )
    yield (
        "- The best step was chosen on the same images, so the figures are slightly too good. `mobilesam eval` on "
        "images that were used for nothing else gives a fair one."
    )


def verdict(comparison: Comparison) -> str:
    """Return what can be concluded about boxes and single clicks."""
    effects: dict[str, list[str]] = {"better": [], "worse": [], "not clearly different": []}
    for prompt, name in _PROMPTS.items():
        if (change := comparison.change(prompt)) is not None:
            low, high = change.interval or (0.0, 0.0)
            clear = low * high > 0 and abs(change.difference) >= MATTERS
            effects["not clearly different" if not clear else "better" if low > 0 else "worse"].append(name)
    clauses = [f"{effect} with {' and '.join(names)}" for effect, names in effects.items() if names]
    if not clauses:
        return "Only clicks were measured."
    conclusion = f"The new weights are {' and '.join(clauses)}."
    if effects["worse"]:
        return f"{conclusion} Keep the weights from before for {' and '.join(effects['worse'])}."
    return conclusion if effects["better"] else f"{conclusion} More annotated images may help."


def _run(about: Mapping[str, Any]) -> str:
    steps = about["steps"]
    done = f"{steps['done']} of {steps['planned']}"
    if about["images"]["held_back"]:
        done += f", best at {steps['chosen']}"
    if about.get("stopped"):
        done += f"; {about['stopped']}"
    uses = [name for name in about["images"] if about["images"][name]]
    rows = [[name.replace("_", " "), _use(about, name)] for name in uses]
    rows += [["steps", done]]
    rows += [[f"weights {when}", digest] for when, digest in about["weights"].items()]
    rows += [["seconds", ", ".join(f"{stage} {_value(seconds)}" for stage, seconds in about["seconds"].items())]]
    rows += [["settings", ", ".join(f"{name} {_value(value)}" for name, value in about["settings"].items())]]
    rows += [["versions", ", ".join(f"{name} {version}" for name, version in about["versions"].items())]]
    rows += [["threads", str(about["threads"])]]
    return table(["", "value"], [[_cell(name), _cell(value)] for name, value in rows])


def _use(about: Mapping[str, Any], name: str) -> str:
    images = f"{about['images'][name]} images"
    return f"{images}, {about['objects'][name]} objects" if name in about["objects"] else images


def counted(comparison: Comparison) -> str:
    """Return the numbers of objects and images that figures rest on."""
    objects, images = len(comparison.objects), comparison.images
    return f"{objects} object{'s' * (objects > 1)} of {images} image{'s' * (images > 1)}"


def numbers(change: Change) -> list[str]:
    """Return before, after, difference and its interval."""
    places = 2 if change.prompt == "clicks" else 3
    interval = " to ".join(f"{value:+.{places}f}" for value in change.interval or ())
    return [f"{change.before:.{places}f}", f"{change.after:.{places}f}", f"{change.difference:+.{places}f}", interval]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the paths and values of nested JSON values."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} {key}".strip())
    else:
        yield name, _value(value)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    """Return text from files and from users that Markdown shows as it is, in a table too."""
    return re.sub(r"[\\`|<*\[]", r"\\\g<0>", plain(text, 300))
