"""Pages that are files of the checkout outside docs/, and the links to them.

A page of docs/ links to ``../CHANGELOG.md`` or ``../notebooks/NAME.ipynb``, which works on a code host. In the site
these files are pages, and the links lead there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent.parent
# The files by their path in the checkout, and the page of the site that each becomes.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "weights/README.md": "guides/weights.md",
} | {f"notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)((?:#[^)\s]*)?)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ as pages."""
    for source, page in PAGES.items():
        if not source.startswith("notebooks/"):  # notebooks.py runs those
            files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point the links of a page at the pages of the site."""
    place = page.file.src_uri
    source = next((source for source, target in PAGES.items() if target == place), f"docs/{place}")

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        target = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(place) or '.')}{match[2]})"

    return _LINK.sub(moved, markdown)
