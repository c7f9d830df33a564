"""Check the distributions in dist/ as a release needs: ``make release-check`` runs this after ``make build``.

The tag, the version and the changelog agree; the source distribution has the files of the wheel; and the wheel,
installed into a fresh environment on the lowest and the highest Python found, segments a sample photo.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    (wheel,), (source,) = (ROOT / "dist").glob("*.whl"), (ROOT / "dist").glob("*.tar.gz")
    version = wheel.name.split("-")[1]
    check_version(version)
    check_source(wheel, source)
    for python in pythons():
        check_installed(wheel, python)
    say(f"{wheel.name} and {source.name} can be released as v{version}")


def check_version(version: str) -> None:
    """Stop if a tag of this commit, the version of the package and the changelog differ."""
    listed = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    tags = [tag for tag in listed.stdout.split() if tag.startswith("v")]
    if tags and tags != [f"v{version}"]:
        sys.exit(f"the tag of this commit is {', '.join(tags)}, and the version is {version}; make them equal")
    if tags and f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        sys.exit(f"CHANGELOG.md has no section [{version}]; rename [Unreleased]")
    say(f"version {version}, " + (f"tag {tags[0]}" if tags else "no tag on this commit"))


def check_source(wheel: Path, source: Path) -> None:
    """Stop if the source distribution lacks a file of the wheel, the changelog or the license files."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        folders = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    with tarfile.open(source) as archive:
        there = {str(PurePosixPath(*PurePosixPath(item.name).parts[1:])) for item in archive if item.isfile()}
    wanted = {"CHANGELOG.md", "LICENSE", "NOTICE", "README.md", "pyproject.toml"}
    for name in zipfile.ZipFile(wheel).namelist():
        if ".dist-info/" not in name:
            package = max((each for each in folders if name.startswith(each.replace(".", "/") + "/")), key=len)
            wanted.add(folders[package] + name[len(package) :])
    if missing := sorted(wanted - there):
        sys.exit(f"{source.name} lacks {', '.join(missing)}")
    say(f"{source.name} has all {len(wanted)} files")


def pythons() -> list[str]:
    """Return the lowest and the highest Python on the path that the package allows and that starts."""
    paths = [path for minor in range(11, 30) if (path := shutil.which(f"python3.{minor}"))]
    usable = [path for path in paths if not subprocess.run([path, "--version"], capture_output=True).returncode]
    return list(dict.fromkeys([usable[0], usable[-1]])) if usable else [sys.executable]


def check_installed(wheel: Path, python: str) -> None:
    """Install the wheel into a fresh environment and segment a sample photo, outside the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        run([python, "-m", "venv", "env"], folder)
        run(["env/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(wheel)], folder)
        run(["env/bin/mobilesam", "samples", "photos"], folder)
        run(["env/bin/mobilesam", "predict", "photos/cat.jpg", "--point", "230,130", "--out", "results"], folder)
        if not Path(folder, "results", "cat-mask.png").is_file():
            sys.exit("mobilesam predict wrote no cat-mask.png")
        release = run(["env/bin/python", "--version"], folder)
        shown = run(["env/bin/mobilesam", "--version"], folder)
    if not re.fullmatch(rf"mobilesam {re.escape(wheel.name.split('-')[1])}", shown):
        sys.exit(f"the installed command shows {shown!r}")
    say(f"{shown} segments a photo on {release}")


def run(command: list[str], folder: str) -> str:
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stdout}{finished.stderr}")
    return finished.stdout.strip()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
