"""Fill the tables in docs/ and the README from the JSON in benchmarks/results/, so that no number is typed by hand.

    python -m benchmarks.render            rewrite the tables, and draw the charts
    python -m benchmarks.render --check    exit with 1 if a table differs from the results

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is a public function in a module of tables.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from benchmarks import accuracy_tables, export_tables, finetune_tables, performance_tables, service_tables
from benchmarks.common import RESULTS, ROOT
from benchmarks.tables import Results

DOCUMENTS = (
    "README.md",
    *(f"docs/{name}.md" for name in ("accuracy", "guides/finetuning", "index", "performance", "quantization")),
)
BLOCK = re.compile(r"(?P<head><!-- table: (?P<name>[\w-]+) -->\n).*?(?P<foot><!-- end -->)", re.DOTALL)
TABLES = {
    name.replace("_", "-"): function
    for module in (accuracy_tables, export_tables, finetune_tables, performance_tables, service_tables)
    for name, function in vars(module).items()
    if getattr(function, "__module__", None) == module.__name__ and not name.startswith("_")
}


def read_results(folder: Path = RESULTS) -> Results:
    """Return the JSON files of a folder by name without suffix."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


def render(text: str, results: Results) -> str:
    """Return a document with its tables made from results."""
    return BLOCK.sub(lambda block: f"{block['head']}{TABLES[block['name']](results)}\n{block['foot']}", text)


def main() -> int:
    """Rewrite or check every document; return the exit code."""
    check, results, changed = "--check" in sys.argv[1:], read_results(), []
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = render(before, results)
        if after != before:
            changed.append(name)
            if not check:
                path.write_text(after, encoding="utf-8")
            print(f"{name} {'differs from the results: run python -m benchmarks.render' if check else 'rewritten'}")
    if not check:
        from benchmarks.charts import draw_charts  # needs matplotlib

        draw_charts(results, ROOT / "docs" / "assets")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
