"""One word a concept: the names and sentences of the code and of the docs use the project's glossary.

``python tests/test_language.py [FILE ...]`` lists what breaks it.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Parts of names, such as "picture" in ``read_picture`` and ``PictureReader``, and what to say instead.
PARTS = {
    "answer": "candidate masks, result or response",
    "answered": "done",
    "answers": "candidate masks, results or responses",
    "ask": "request, or a verb of the subject",
    "asked": "requested",
    "asker": "a noun of the subject",
    "asks": "requests",
    "gone": "expired",
    "how": "settings",
    "lane": "worker",
    "lanes": "workers",
    "notice": "warning",
    "notices": "warnings",
    "patience": "retry policy",
    "picture": "image",
    "pictures": "images",
    "preset": "mode",
    "presets": "modes",
    "readings": "candidate masks",
    "said": "warned, or a noun of the subject",
    "shipped": "templates",
    "skeleton": "template",
    "skeletons": "templates",
    "studio": "service",
    "visit": "session",
    "visitor": "client or session",
    "visitors": "clients or sessions",
    "words": "formats",
}
WHOLE = {"found": "masks, records, or a noun of the subject", "Found": "a noun of the subject"}
# Whole strings: option names, keys of JSON, names of settings.
STRINGS = {
    "--grid": "--points-per-side",
    "--preset": "--mode",
    "--tiles": "--tile-size",
    "grid": "points_per_side",
    "picture": "image",
    "pictures": "images",
    "preset": "mode",
}
PHRASES = {
    r"pictur(e|es|ed)\b": "image, or photo in a guide",
    r"visit(or|ors|s)?\b(?! https)": "client, user or session",
    r"answer(s|ed|ing)?\b": "response, result or candidate masks",
    r"lanes?\b|lines? of work\b": "worker or thread",
    r"readings\b": "candidate masks",
    r"presets?\b": "mode",
    r"(?<!label )studios?\b": "service",  # Label Studio is a program
    r"skeletons?\b|shipped\b": "graph template",
    r"notices\b": "warnings",
    r"patience\b|patient\b": "retry policy",
    r"at hand\b|for want of\b|mend(s|ed)?\b|take home\b|must be known\b|other maker\b|another maker\b": "plain words",
    r"(it|file|checkpoint|graph|model) bears\b": "contains",
    r"(colour|behaviour|neighbour|favour|honour|flavour)\w*": "-or",
    r"(centre|metre|fibre)(s|d)?\b": "-er",
    r"(normal|summar|recogn|initial|optim|serial|organ|minim|maxim|quant|parametr|real|util|visual|general|random"
    r"|emphas|standard|synchron|categor|special)is(e|es|ed|ing|ation|ations)\b": "-ize",
    r"licence(s|d)?\b": "license",
    r"(analys)(e|es|ed)\b": "analyze",
    r"(label|cancel|travel|model|channel|signal)l(ed|ing)\b": "one l",
    r"grey(s|er)?\b|catalogue\b|artefacts?\b|programme\b|whilst\b|judgement\b|defence\b": "American spelling",
}
PHRASE = re.compile("|".join(f"(?P<p{i}>{pattern})" for i, pattern in enumerate(PHRASES)), re.IGNORECASE)
PROSE_SUFFIXES = {".md", ".toml", ".yml", ".css", ".html", ".sh"}

# This list itself, and the tests of old names.
EXEMPT = {"tests/test_language.py", "tests/test_old_paths.py", "NOTICE", "LICENSE"}
# Lines with names of earlier releases, which keep working, or which files may still contain.
OLD_NAMES = re.compile(r"segment_pictures|moved\(|_RENAMED = |\"pictures?\"|\"picture_hw\"|\bformats\.picture\b")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if name not in EXEMPT and not name.startswith("benchmarks/results/")]


def parts(name: str) -> list[str]:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().replace("label_studio", "")  # a program
    return words.split("_")


def in_name(name: str) -> str | None:
    if name in WHOLE:
        return WHOLE[name]
    return next((PARTS[part] for part in parts(name) if part in PARTS), None)


def in_prose(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the words and what to say instead; parts of a name with dashes or underscores are left out."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in PHRASE.finditer(line):
            if match.start() and re.match(r"[\w-]", line[match.start() - 1]):
                continue  # a part of another word or of a name
            assert match.lastgroup is not None
            instead = list(PHRASES.values())[int(match.lastgroup[1:])] if match.lastgroup[0] == "p" else ""
            yield number, match.group(), instead


def in_python(source: str) -> Iterator[tuple[int, str, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.NAME:
            if (instead := in_name(token.string)) is not None:
                yield line, token.string, instead
        elif token.type in (tokenize.STRING, tokenize.COMMENT) or token.type == getattr(tokenize, "FSTRING_MIDDLE", -1):
            exact = token.string.strip("\"'")
            if exact in STRINGS:
                yield line, token.string, STRINGS[exact]
            else:
                for offset, words, instead in in_prose(token.string):
                    yield line + offset - 1, words, instead


def in_script(source: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(source.splitlines(), 1):
        for name in re.findall(r"[A-Za-z_]\w*", line):
            if (instead := in_name(name)) is not None:
                yield number, name, instead
    yield from in_prose(source)


def in_notebook(source: str) -> Iterator[tuple[int, str, str]]:
    for cell in json.loads(source)["cells"]:
        text = "".join(cell["source"])
        yield from in_prose(text) if cell["cell_type"] == "markdown" else in_python_or_nothing(text)


def in_python_or_nothing(source: str) -> Iterator[tuple[int, str, str]]:
    try:
        yield from in_python(source)
    except (tokenize.TokenError, SyntaxError):  # magics and shell lines
        yield from in_prose(source)


def violations(names: list[str]) -> list[str]:
    """Return one line for each word that the glossary replaces, in the files of this name."""
    listed = []
    for name in names:
        path = ROOT / name
        kinds = {".py": in_python, ".js": in_script, ".ipynb": in_notebook}
        check = kinds.get(path.suffix, in_prose if path.suffix in PROSE_SUFFIXES or not path.suffix else None)
        if check is None:
            continue
        text = path.read_text(encoding="utf-8")
        if name == "CHANGELOG.md":
            text = re.sub(r"`[^`\n]*`", "", text)  # names of earlier releases
        lines = text.splitlines()
        for line, words, instead in dict.fromkeys(check(text)):
            if not OLD_NAMES.search(lines[line - 1]) or path.suffix != ".py":
                listed.append(f"{name}:{line}: {words!r}; say {instead}")
    return listed


def test_names_and_sentences_use_the_glossary() -> None:
    assert violations(tracked()) == []


def test_the_check_sees_names_strings_comments_and_prose() -> None:
    source = 'def read_picture(grid):\n    """Ask the visitor."""\n    return {"preset": 1}  # its colour\n'
    assert [words for _, words, _ in in_python(source)] == ["read_picture", "visitor", '"preset"', "colour"]
    assert not list(in_python("image = FileNotFoundError  # found in a grid of h x w\n"))
    assert [words for _, words, _ in in_prose("The licence of pictures.")] == ["licence", "pictures"]
    assert [words for _, words, _ in in_script("let picture = 1;")] == ["picture", "picture"]


if __name__ == "__main__":
    lines = violations(sys.argv[1:] or tracked())
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.exit(f"{len(lines)} words")
