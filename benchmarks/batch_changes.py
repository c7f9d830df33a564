"""Many kills of a batch whose pictures change meanwhile: does --resume notice, and are the files right in the end?

python -m benchmarks.batch_changes --photos FOLDER --out benchmarks/results/batch_changes.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.batch import batch_command, finish, identical, start
from benchmarks.batch_pictures import make_pictures
from mobilesam import weights
from mobilesam.bench import describe_environment


def changes(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Kill a run again and again, each time at a random number of pictures, and change some before it is resumed.

    Between two starts, pictures that are done and others are replaced by others, damaged, removed, put back and
    touched, and some results are deleted. In the end the files are compared with those of a run over the last pictures.
    """
    chance = random.Random(0)
    workers, threads = arguments.workers, 1
    pictures, out, fresh = work / "changing", work / "changed", work / "fresh"
    shutil.copytree(work / "pictures", pictures)
    names, tally = sorted(path.name for path in pictures.glob("[0-9]*")), Counter[str]()
    at = []
    for _ in range(arguments.kills):
        process = start(batch_command(work, pictures.name, out, workers, threads, "--resume"))
        at.append(wait_for_more(process, out, chance.randrange(1, max(2, len(names) // arguments.kills))))
        process.kill()
        process.communicate()
        for name in chance.sample(names, arguments.changed):
            what = chance.choice(("replaced", "replaced", "damaged", "removed", "touched", "without results"))
            change(what, pictures / name, work / "pictures" / chance.choice(names), out)
            tally[what] += 1
    for name in names:  # a picture that is gone in the end would be a bad one here, and none at all in the other run
        if not (pictures / name).exists():
            shutil.copy(work / "pictures" / name, pictures / name)
    done, bad = finish(start(batch_command(work, pictures.name, out, workers, threads, "--resume")))
    expected = finish(start(batch_command(work, pictures.name, fresh, workers, threads)))
    about = {"kills": arguments.kills, "done_at_kills": at, "changes": dict(tally), "done": done, "bad": bad}
    return about | {"expected": expected, "identical": identical(out, fresh)}


def change(what: str, picture: Path, other: Path, out: Path) -> None:
    """Do to a picture, or to its results, what the word says."""
    if what == "without results":
        for path in out.glob(f"{picture.stem}-masks/001.png"):
            path.unlink()
    elif what == "removed" or not picture.exists():
        picture.unlink(missing_ok=True)
    elif what == "touched":
        os.utime(picture)
    else:
        content = other.read_bytes()
        picture.write_bytes(content if what == "replaced" else content[: len(content) // 3])


def connect(out: Path) -> sqlite3.Connection:
    """Open the journal to look at it."""
    return sqlite3.connect(f"file:{out / 'batch.sqlite'}?mode=ro", uri=True)


def wait_for_more(process: subprocess.Popen[str], out: Path, more: int) -> int:
    """Return how many pictures are in the journal when it is so many more than at first, or the run has ended."""
    first = None
    while process.poll() is None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(out)) as journal:
            ((done,),) = journal.execute("SELECT count(*) FROM pictures WHERE result NOTNULL OR error NOTNULL")
            first = done if first is None else min(first, done)  # less once what has changed is done again
            if done >= first + more:
                return int(done)
        time.sleep(0.02)
    return -1


def main() -> None:
    """Run it and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=100, help="pictures made of them")
    parser.add_argument("--bad", type=int, default=5, help="broken ones among them")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--changed", type=int, default=8, help="pictures changed after each kill")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    weights.ensure()
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(arguments.photos, Path(folder) / "pictures", arguments.count, arguments.bad)
        result = changes(arguments, Path(folder))
    document = {"pictures": arguments.count, "bad": arguments.bad, "environment": describe_environment()} | result
    print(document)
    arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
