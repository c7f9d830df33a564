"""Fill the tables in docs/ and the README from the JSON in benchmarks/results/, so that no number is typed by hand.

    python -m benchmarks.render            rewrite the tables, and draw the charts
    python -m benchmarks.render --check    exit 1 if one has drifted

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is a function in TABLES.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import everything_tables, option_tables, quantization_tables, service_tables
from benchmarks.headline import headline
from benchmarks.reference import ROOT
from mobilesam.evaluate.report import accuracy_table, calibration_table, clicks_table, seconds_table, table

RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = ("README.md", "docs/accuracy.md", "docs/index.md", "docs/performance.md", "docs/quantization.md")
BLOCK = re.compile(r"(?P<head><!-- table: (?P<name>[\w-]+) -->\n).*?(?P<foot><!-- end -->)", re.DOTALL)
BACKENDS = {"mobilesam": "mobilesam on PyTorch", "mobilesam-onnx": "mobilesam on ONNX Runtime"}
TASKS = {
    "set_image": "set_image",
    "click": "predict, one point, three masks",
    "clicks": "the same, one of {count} in a row",
    "refine": "predict, two points and the last mask",
    "boxes": "{count} boxes at once, one mask each",
    "points": "{count} points at once, three masks each",
    "load": "loaded",
}


class Results:
    """The JSON files of a folder, by name without suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


def summaries(results: Results) -> dict[str, Any]:
    """Return the two reports by the names people know the packages by."""
    return {
        "mobilesam": results["eval_mobilesam"]["summary"],
        "mobilesam-mirror": results["eval_reference"]["summary"],
    }


def accuracy(results: Results) -> str:
    return accuracy_table(summaries(results))


def difference(results: Results) -> str:
    ours, theirs = (summary["prompts"] for summary in summaries(results).values())
    rows = [[kind, f"{abs(ours[kind]['mean_iou'] - theirs[kind]['mean_iou']):.6f}"] for kind in ours]
    return table(["prompt", "difference in mIoU"], rows)


def clicks(results: Results) -> str:
    return clicks_table(summaries(results))


def calibration_box(results: Results) -> str:
    return calibration_table(results["eval_mobilesam"]["summary"]["prompts"]["box"], "box")


def calibration_point(results: Results) -> str:
    return calibration_table(results["eval_mobilesam"]["summary"]["prompts"]["point"], "point")


def tokens(results: Results) -> str:
    prompts = results["eval_mobilesam"]["summary"]["prompts"]
    head = ["prompt", "single mask", "first of three", "second", "third", "ranked first", "best of three"]
    rows = []
    for kind in ("box", "point"):
        numbers = [*prompts[kind]["by_token"], prompts[kind]["ranked_iou"], prompts[kind]["oracle_iou"]]
        rows.append([kind, *(f"{value:.4f}" for value in numbers)])
    return table(head, rows)


def stages(results: Results) -> str:
    return seconds_table(summaries(results))


def side_by_side(results: Results) -> str:
    found = results["side_by_side"]
    *ours, _ = found["order"]
    head = ["task", "mobilesam-mirror ms"]
    for package in ours:
        head += [f"{BACKENDS[package]} ms", "times faster (quartiles)"]
    rows = []
    for task in found["tasks"]:
        cells = [TASKS[task["task"]].format(**task["arguments"]), f"{1000 * task['reference']:.1f}"]
        for each in (task["packages"][package] for package in ours):
            cells += [
                f"{1000 * each['seconds']:.1f}",
                f"{each['ratio']:.2f} ({each['ratio_q1']:.2f}-{each['ratio_q3']:.2f})",
            ]
        rows.append([*cells, str(len(task["turns"]))])
    return table([*head, "turns"], rows)


def memory(results: Results) -> str:
    found = results["side_by_side"]
    *ours, reference = found["order"]
    arguments = {task["task"]: task["arguments"] for task in found["tasks"]}
    head = ["peak of a fresh process", "mobilesam-mirror MiB"]
    for package in ours:
        head += [f"{BACKENDS[package]} MiB", "times less"]
    rows = []
    for task, theirs in found["peak_bytes"][reference].items():
        cells = [TASKS[task].format(**arguments.get(task, {})), f"{theirs / 2**20:.0f}"]
        for peak in (found["peak_bytes"][package][task] for package in ours):
            cells += [f"{peak / 2**20:.0f}", f"{theirs / peak:.2f}"]
        rows.append(cells)
    return table(head, rows)


def size_curve(results: Results) -> str:
    return _curve(results, "size", "megapixels", {"set_image": "set_image", "click": "click"})


def prompts_curve(results: Results) -> str:
    return _curve(results, "prompts", "prompts", {"boxes": "boxes at once"})


def threads_curve(results: Results) -> str:
    return _curve(results, "threads", "threads", {"set_image": "set_image", "click": "click"})


def conditions_eval(results: Results) -> str:
    return _conditions({name: results[f"eval_{name}"]["environment"] for name in ("mobilesam", "reference")})


def conditions_side_by_side(results: Results) -> str:
    found = results["side_by_side"]
    machine = f"{_machine(found['environment'])}, {found['threads']} threads, image: {found['photo']}"
    return f"- {machine}\n- {_listed(found['versions'])}"


def conditions_curves(results: Results) -> str:
    return _environment(results["cost_curves"]["environment"])


def conditions_options(results: Results) -> str:
    found = results["options"]
    return f"- {_environment(found['environment'])}, threads {found['threads']}"


TABLES: dict[str, Callable[[Results], str]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        headline,
        accuracy,
        difference,
        clicks,
        calibration_box,
        calibration_point,
        tokens,
        stages,
        side_by_side,
        memory,
        size_curve,
        prompts_curve,
        threads_curve,
        conditions_eval,
        conditions_side_by_side,
        conditions_curves,
        option_tables.padding,
        option_tables.padding_seconds,
        option_tables.selection,
        option_tables.selection_gap,
        option_tables.second_pass,
        option_tables.torch_settings,
        conditions_options,
        quantization_tables.quantization,
        quantization_tables.quantization_operators,
        quantization_tables.conditions_quantization,
        everything_tables.everything_side,
        everything_tables.everything_recall,
        everything_tables.everything_memory,
        everything_tables.everything_curve,
        everything_tables.conditions_everything,
        service_tables.page_latency,
        service_tables.page_load,
        service_tables.page_clients,
        service_tables.batch,
        service_tables.batch_faults,
        service_tables.conditions_batch,
    )
}

CHARTS = {
    "docs/assets/everything-cost.png": everything_tables.cost_chart,
    "docs/assets/everything-recall.png": everything_tables.recall_chart,
}


def render(text: str, results: Results) -> str:
    """Return a document with its tables made anew."""
    return BLOCK.sub(lambda found: f"{found['head']}{TABLES[found['name']](results)}\n{found['foot']}", text)


def _curve(results: Results, name: str, unit: str, tasks: dict[str, str]) -> str:
    head = [unit]
    for label in tasks.values():
        head += [f"{label} ms", "peak MiB"]
    rows = []
    for row in results["cost_curves"]["curves"][name]:
        cells = [str(row[unit])]
        for task in tasks:
            cells += [f"{1000 * row[task]['seconds']:.1f}", f"{row[task]['peak_bytes'] / 2**20:.0f}"]
        rows.append(cells)
    return table(head, rows)


def _conditions(environments: dict[str, Any]) -> str:
    return "\n".join(f"- {name}: {_environment(found)}" for name, found in environments.items())


def _environment(found: dict[str, Any]) -> str:
    return f"{_machine(found)}, {_listed(found['versions'])}"


def _machine(found: dict[str, Any]) -> str:
    return f"{found['processor']}, {found['cores']} cores, {found['system']}, commit {found['commit']}"


def _listed(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def main() -> int:
    """Rewrite or check every document; return the exit code."""
    check = "--check" in sys.argv[1:]
    drifted = []
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = render(before, Results(RESULTS))
        if after != before:
            drifted.append(name)
            if not check:
                path.write_text(after, encoding="utf-8")
    for name, chart in CHARTS.items() if not check else ():
        Image.fromarray(chart(Results(RESULTS))).save(ROOT / name, optimize=True)
    for name in drifted:
        print(f"{name} {'has drifted: run python -m benchmarks.render' if check else 'rewritten'}")
    return int(check and bool(drifted))


if __name__ == "__main__":
    sys.exit(main())
