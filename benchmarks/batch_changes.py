"""A batch that is killed many times and whose images change meanwhile: does --resume give the right files?

python -m benchmarks.batch_changes --photos FOLDER --out benchmarks/results/batch_changes.json
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
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
from benchmarks.batch_photos import add_photos, make_photos
from benchmarks.common import make_parser, write_result
from mobilesam import weights

MISSING = (
    "can no longer be read (No such file or directory). Its earlier results are kept. "
    "Restore the file and run again with --resume, or start again with --force."
)


def changes(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Kill a run again and again, each time at a random number of images, and change some before it is resumed.

    Between two starts, images are replaced, damaged, removed, restored and touched, and some results are deleted. In
    the end all files, coco.json and the journal included, must equal those of one run over the last images. The
    results of a missing image are kept, so the other run is given the file that they were made from, or the path of a
    file that does not exist if there are none.
    """
    chance = random.Random(0)
    workers, threads = arguments.workers, 1
    originals, photos, out, fresh = work / "images", work / "changing", work / "changed", work / "fresh"
    shutil.copytree(originals, photos)
    sound, tally = sorted(path.name for path in photos.glob("[0-9]*")), Counter[str]()
    listed = work / "listed.txt"
    listed.write_text("".join(f"{photos.name}/{path.name}\n" for path in sorted(photos.iterdir())))
    at: list[int] = []
    while sum(done >= 0 for done in at) < arguments.kills:
        process = start(batch_command(work, photos.name, out, workers, threads, "--resume"))
        at.append(wait_for_more(process, out, chance.randrange(1, max(2, len(sound) // arguments.kills))))
        process.kill()
        process.communicate()
        for name in chance.sample(sound, arguments.changed):
            what = chance.choice(("replaced", "replaced", "damaged", "removed", "touched", "without results"))
            tally[change(what, photos / name, originals / chance.choice(sound), out)] += 1
    done, bad, errors = finish(start(batch_command(work, photos.name, out, workers, threads, "--resume")))
    kept = restore(photos, originals, out)
    command = batch_command(work, listed.name, fresh, workers, threads)
    expected_done, expected_bad, expected_errors = finish(start(command))
    expected_errors |= {f"{path} {MISSING}" for path in kept}
    about = {"kills": arguments.kills, "done_at_kills": at, "changes": dict(tally), "done": done, "bad": bad}
    return about | {
        "kept": len(kept),
        "expected": (expected_done - len(kept), expected_bad + len(kept)),
        "listed": errors == expected_errors and bad == len(errors),
        "identical": identical(out, fresh),
    }


def change(what: str, photo: Path, other: Path, out: Path) -> str:
    """Change an image or its results; return what was done."""
    if not photo.exists():
        if what not in ("replaced", "damaged"):
            return "none: it is missing"
        what = "restored" if what == "replaced" else "restored damaged"
    if what == "without results":
        for path in out.glob(f"{photo.stem}-masks/001.png"):
            path.unlink()
    elif what == "removed":
        photo.unlink()
    elif what == "touched":
        os.utime(photo)
    else:
        content = other.read_bytes()
        photo.write_bytes(content[: len(content) // 3] if "damaged" in what else content)
    return what


def restore(photos: Path, originals: Path, out: Path) -> list[Path]:
    """Restore the missing images that have results, as they were when these were made; return their paths."""
    by_digest = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in originals.iterdir()}
    restored = []
    with contextlib.closing(connect(out)) as journal:
        rows = journal.execute("SELECT source, fingerprint FROM images WHERE result NOTNULL").fetchall()
    for source, fingerprint in rows:
        path = Path(json.loads(source))
        _, mtime_ns, digest = json.loads(fingerprint)
        if not path.exists():
            assert path.parent == photos
            shutil.copyfile(by_digest[digest], path)
            os.utime(path, ns=(mtime_ns, mtime_ns))
            restored.append(path)
    return restored


def connect(out: Path) -> sqlite3.Connection:
    """Open the journal for reading."""
    return sqlite3.connect(f"file:{out / 'batch.sqlite'}?mode=ro", uri=True)


def wait_for_more(process: subprocess.Popen[str], out: Path, more: int) -> int:
    """Wait until the journal has so many more images than at first; return how many, or -1 if the run ends before."""
    first = None
    while process.poll() is None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(out)) as journal:
            ((done,),) = journal.execute("SELECT count(*) FROM images WHERE result NOTNULL OR error NOTNULL")
            first = done if first is None else min(first, done)  # it decreases when changed images are done again
            if done >= first + more:
                return int(done)
        time.sleep(0.02)
    return -1


def main() -> None:
    """Run it and write the JSON."""
    parser = make_parser(__doc__)
    add_photos(parser, count=100, bad=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--changed", type=int, default=8, help="images changed after each kill")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    weights.ensure()
    with tempfile.TemporaryDirectory() as folder:
        make_photos(arguments.photos, Path(folder) / "images", arguments.count, arguments.bad)
        result = {"images": arguments.count} | changes(arguments, Path(folder))
    print(result)
    write_result(arguments.out, result)


if __name__ == "__main__":
    main()
