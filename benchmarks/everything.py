"""Everything mode: against the reference, recall and time of the modes, time and memory against grid and image size.

python -m benchmarks.everything --out benchmarks/results/everything.json --photos FOLDER side recall memory curve

The parts named are run and put into the file beside those that are there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from benchmarks import reference
from benchmarks.packages import OURS, OURS_ONNX, REFERENCE
from mobilesam.bench import describe_environment, write_sample

MODES = ("exact", "balanced", "fast")
BACKENDS = ((OURS, ""), (OURS_ONNX, ", ONNX Runtime"))
MEGAPIXELS = (0.3, 6, 24)
GRIDS = (4, 8, 16, 24, 32)
PHOTOS = 20


def run(python: Path, arguments: argparse.Namespace, package: str, photo: Path, **options: Any) -> dict[str, Any]:
    """Segment one image in a fresh process; return "seconds", "peak_bytes" and the "masks" as COCO RLE."""
    request = {
        "package": package,
        "weights": str(reference.checkpoint(arguments).resolve()),
        "threads": arguments.threads,
        "image": str(photo.resolve()),
        "options": options,
    }
    process = subprocess.run(
        [python, "-m", "benchmarks.everything_worker"],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=reference.ROOT,
        env=reference.environment(arguments.threads),
    )
    answer: dict[str, Any] = json.loads(process.stdout)
    if answer["torch"] and package == OURS_ONNX:
        raise SystemExit(f"the worker of {package} imported torch")
    return answer


def command(arguments: argparse.Namespace, photo: Path, out: Path) -> dict[str, Any]:
    """Run ``mobilesam everything`` with all that it writes; return "seconds" and "peak_bytes" of its process."""
    words = ["everything", photo, "--mode", "exact", "--points-per-side", "16", "--backend", "onnx"]
    words += ["--out", out, "--force"]
    words += ["--format", "overlay,mask,coco,csv", "--threads", arguments.threads]
    code = "from benchmarks.worker import peak_memory; import sys; from mobilesam.cli import build_app\n"
    code += "build_app()(sys.argv[1:], standalone_mode=False); print(peak_memory())"
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=reference.ROOT,
        env=reference.environment(arguments.threads),
    )
    return {"seconds": time.perf_counter() - start, "peak_bytes": int(process.stdout.splitlines()[-1])}


def recall(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> int:
    """Return how many of the wanted masks are found at an IoU of 0.8."""
    if not found or not wanted:
        return 0
    return int((coco.iou(found, wanted, [0] * len(wanted)).max(axis=0) >= 0.8).sum())


def side(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare with the reference on one image: all in the reference's environment, one after the other."""
    python = reference.interpreter(arguments)
    rows = []
    theirs = run(python, arguments, REFERENCE, arguments.photo, points_per_side=arguments.grid)
    ours = [(f"{mode}{word}", package, {"mode": mode}) for package, word in BACKENDS for mode in MODES]
    for name, package, options in [("mobilesam-mirror", REFERENCE, {}), *ours]:
        answer = (
            theirs
            if package == REFERENCE
            else run(python, arguments, package, arguments.photo, points_per_side=arguments.grid, **options)
        )
        rows.append(
            {
                "name": name,
                "grid": arguments.grid,
                "seconds": answer["seconds"],
                "peak_bytes": answer["peak_bytes"],
                "masks": len(answer["masks"]),
                "found": recall(answer["masks"], theirs["masks"]),
                "times_faster": theirs["seconds"] / answer["seconds"],
            }
        )
        print(rows[-1], flush=True)
    return rows


def recalls(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return each mode's time and found masks a photo; photos that are in the file already are not run again.

    No constant was chosen on these photos.
    """
    rows: list[dict[str, Any]] = read(arguments.out).get("recall", {}).get("rows", [])
    photos = sorted(path for path in arguments.photos.iterdir() if path.suffix in (".jpg", ".png"))
    known = {row["photo"] for row in rows}
    for photo in [path for path in photos[::4][:PHOTOS] if path.name not in known][: arguments.at_once]:
        answers = {name: run(Path(sys.executable), arguments, OURS_ONNX, photo, mode=name) for name in MODES}
        exact = answers["exact"]["masks"]
        found = {
            name: {
                "seconds": answer["seconds"],
                "masks": len(answer["masks"]),
                "found": recall(answer["masks"], exact),
            }
            for name, answer in answers.items()
        }
        rows.append({"photo": photo.name, **found})
        print(rows[-1], flush=True)
    return rows


def memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the peak memory against the size of the image: from Python as COCO RLE, and of the command."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in MEGAPIXELS:
            height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
            photo = Path(folder) / f"{megapixels}.png"
            write_sample(photo, (height, round(height * 4 / 3)))
            answers = {
                "Python": run(Path(sys.executable), arguments, OURS_ONNX, photo, points_per_side=16),
                "Python, PyTorch": run(Path(sys.executable), arguments, OURS, photo, points_per_side=16),
                "mobilesam everything": command(arguments, photo, Path(folder) / "out"),
            }
            for how, answer in answers.items():
                found = {key: answer[key] for key in ("seconds", "peak_bytes")}
                rows.append({"megapixels": megapixels, "how": how, **found})
                print(rows[-1], flush=True)
    return rows


def curve(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the time of exact runs against grid and image size."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in (0.3, 6):
            height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
            photo = Path(folder) / f"{megapixels}.png"
            write_sample(photo, (height, round(height * 4 / 3)))
            for grid in GRIDS:
                answer = run(Path(sys.executable), arguments, OURS_ONNX, photo, points_per_side=grid)
                rows.append({"megapixels": megapixels, "grid": grid, "seconds": answer["seconds"]})
                print(rows[-1], flush=True)
    return rows


PARTS = {"curve": curve, "side": side, "recall": recalls, "memory": memory}


def read(path: Path) -> dict[str, Any]:
    """Return what earlier runs wrote, or nothing."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def main() -> None:
    """Run the parts named and update the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reference.add_arguments(parser)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--image", type=Path, help="for side")
    parser.add_argument("--grid", type=int, default=32, help="points on a side, for side")
    parser.add_argument("--photos", type=Path, help="folder, for recall")
    parser.add_argument("--at-once", type=int, default=PHOTOS, help="photos to add in this run, for recall")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    document = read(arguments.out)
    for part in arguments.parts:
        document[part] = {
            "threads": arguments.threads,
            "environment": describe_environment(),
            "rows": PARTS[part](arguments),
        }
        arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
