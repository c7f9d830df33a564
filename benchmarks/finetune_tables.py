"""The tables of docs/guides/finetuning.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.tables import Results, rows_table

_NAMES = {"facades": "facades", "nuclei": "fluorescence nuclei", "everyday": "everyday photos"}
_OPTIONS = {
    "facades": "defaults",
    "lora": "`--lora 8`",
    "neck": "`--neck`",
    "views": "`--views 3`",
    "keep": "`--keep` with 101 other everyday photos",
    "no-distill": "`--no-distill`",
}
_OPTIONS_OF_NUCLEI = {"nuclei": "defaults", "nuclei-keep": _OPTIONS["keep"]}


def _change(key: str) -> Any:
    """Return a column's function: before, after, and the difference in points."""

    def cell(row: Mapping[str, Any]) -> str:
        before, after = row["before"].get(key), row["after"].get(key)
        if before is None or after is None:
            return ""
        if key == "noc_90":
            return f"{before:.2f} → {after:.2f}"
        return f"{before:.3f} → {after:.3f} ({100 * (after - before):+.1f})"

    return cell


def _rows(results: Results, names: Iterable[str], domains: Iterable[str] = _NAMES) -> list[dict[str, Any]]:
    runs = results.get("finetune", {})
    return [
        {"run": name, "domain": domain, **runs[name]["data"], **runs[name]["domains"][domain]}
        for name in names
        if name in runs
        for domain in domains
        if domain in runs[name]["domains"]
    ]


def finetune_domains(results: Results) -> str:
    trained = {"facades": "facades", "nuclei": "nuclei", "both": "both"}
    return rows_table(
        _rows(results, trained),
        ("trained on", lambda row: f"{trained[row['run']]}, {row['objects']} objects on {row['images']} images"),
        ("measured on", lambda row: f"{_NAMES[row['domain']]}, {row['before']['objects']}"),
        ("box", _change("box")),
        ("one click", _change("point")),
        ("best of three", _change("best")),
        ("error of the predicted IoU", _change("error")),
        ("clicks to 0.90", _change("noc_90")),
    )


def finetune_objects(results: Results) -> str:
    names = [*(f"facades-{count}" for count in (5, 10, 20, 100)), "facades"]
    return rows_table(
        _rows(results, names, ("facades",)),
        ("objects", "{objects}"),
        ("images", "{images}"),
        ("box", _change("box")),
        ("one click", _change("point")),
        ("best of three", _change("best")),
        ("clicks to 0.90", _change("noc_90")),
    )


def finetune_options(results: Results) -> str:
    return _options(results, "facades", _OPTIONS)


def finetune_options_of_nuclei(results: Results) -> str:
    return _options(results, "nuclei", _OPTIONS_OF_NUCLEI)


def _options(results: Results, domain: str, names: Mapping[str, str]) -> str:
    rows = []
    for name in names:
        own, everyday = (_rows(results, [name], [each]) for each in (domain, "everyday"))
        rows += [{**one, "everyday": other} for one, other in zip(own, everyday, strict=True)]
    return rows_table(
        rows,
        ("options", lambda row: names[row["run"]]),
        ("box", _change("box")),
        ("one click", _change("point")),
        ("everyday: box", lambda row: _change("box")(row["everyday"])),
        ("everyday: one click", lambda row: _change("point")(row["everyday"])),
    )
