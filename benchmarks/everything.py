"""Everything mode: against the reference, recall and time of the modes, time and memory against grid and image size.

python -m benchmarks.everything --out benchmarks/results/everything.json --image PHOTO --photos FOLDER \\
    side recall memory curve
python -m benchmarks.everything --out benchmarks/results/everything.json --photos OTHER held_back
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from benchmarks import packages
from benchmarks.common import ROOT, make_parser, read_result, write_parts, write_sized
from benchmarks.packages import OURS, OURS_ONNX, REFERENCE
from benchmarks.worker import Process

MODES = ("exact", "balanced", "fast")
# The same masks pass this threshold, but the expectation was not learned on it, so that the modes follow the rule.
_BY_RULE = {"pred_iou_thresh": 0.88 + 1e-12}
# The modes, and beside them those that follow the rule.
RUNS: dict[str, dict[str, Any]] = {
    "exact": {"mode": "exact"},
    "balanced": {"mode": "balanced"},
    "balanced by the rule": {"mode": "balanced", **_BY_RULE},
    "fast": {"mode": "fast"},
    "fast by the rule": {"mode": "fast", **_BY_RULE},
}
BACKENDS = ((OURS, ""), (OURS_ONNX, ", ONNX Runtime"))
MEGAPIXELS = (0.3, 6, 24)
POINTS_PER_SIDE = (4, 8, 16, 24, 32)
PHOTOS = 20
SAME = 0.8  # the IoU from which on a mask is found


def run(python: str | Path, arguments: argparse.Namespace, package: str, photo: Path, **options: Any) -> dict[str, Any]:
    """Segment one image in a fresh process; return "seconds", "peak_bytes" and the "masks" as COCO RLE."""
    with Process(Path(python), package, packages.checkpoint(arguments), arguments.threads) as process:
        process.run("open", photo=str(photo.resolve()))
        return process.run("everything", **options)


def command(arguments: argparse.Namespace, photo: Path, out: Path) -> dict[str, Any]:
    """Run ``mobilesam everything`` with all formats; return "seconds" and "peak_bytes" of its process."""
    options = ["--mode", "exact", "--points-per-side", "16", "--backend", "onnx", "--out", out, "--force"]
    options += ["--format", "overlay,mask,coco,csv", "--threads", arguments.threads]
    code = "from benchmarks.process_tree import peak_memory; import sys; from mobilesam.cli import build_app\n"
    code += "build_app()(sys.argv[1:], standalone_mode=False); print(peak_memory())"
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", code, "everything", *map(str, [photo, *options])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env=packages.environment(arguments.threads),
    )
    return {"seconds": time.perf_counter() - start, "peak_bytes": int(process.stdout.splitlines()[-1])}


def count_found(masks: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> int:
    """Return how many of the wanted masks are among the masks at an IoU of :data:`SAME`."""
    if not masks or not wanted:
        return 0
    return int((coco.iou(masks, wanted, [0] * len(wanted)).max(axis=0) >= SAME).sum())


def side(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare with the reference on one image: all in the reference's environment, one after the other."""
    python, points = packages.interpreter(arguments), {"points_per_side": arguments.points_per_side}
    theirs = run(python, arguments, REFERENCE, arguments.image, **points)
    rows = [_side("mobilesam-mirror", theirs, theirs) | points]
    for package, backend in BACKENDS:
        for mode in MODES:
            ours = run(python, arguments, package, arguments.image, **points, mode=mode)
            rows.append(_side(f"{mode}{backend}", ours, theirs) | points)
    return rows


def _side(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    row = {
        "name": name,
        "seconds": ours["seconds"],
        "peak_bytes": ours["peak_bytes"],
        "masks": len(ours["masks"]),
        "found": count_found(ours["masks"], theirs["masks"]),
        "times_faster": theirs["seconds"] / ours["seconds"],
    }
    print(row, flush=True)
    return row


def recall(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return each mode's time and masks on photos that no constant was chosen on."""
    return _recall(arguments, "recall", _photos(arguments)[::4][:PHOTOS])


def held_back(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the same for all photos of a folder: those held back from what the expectation was learned on."""
    return _recall(arguments, "held_back", _photos(arguments))


def _photos(arguments: argparse.Namespace) -> list[Path]:
    return sorted(path for path in arguments.photos.iterdir() if path.suffix in (".jpg", ".png"))


def _recall(arguments: argparse.Namespace, part: str, photos: list[Path]) -> list[dict[str, Any]]:
    """Photos that are in the file already are not run again."""
    rows: list[dict[str, Any]] = read_result(arguments.out).get(part, {}).get("rows", [])
    known = {row["photo"] for row in rows}
    for photo in [path for path in photos if path.name not in known][: arguments.at_once]:
        results = {name: run(sys.executable, arguments, OURS_ONNX, photo, **run_of) for name, run_of in RUNS.items()}
        exact = results["exact"]["masks"]
        row: dict[str, Any] = {"photo": photo.name}
        for name, result in results.items():
            counts = {"masks": len(result["masks"]), "found": count_found(result["masks"], exact)}
            row[name] = {"seconds": result["seconds"], **counts}
        rows.append(row)
        print(row, flush=True)
    return rows


def memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the peak memory against the size of the image: from Python as COCO RLE, and of the command."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in MEGAPIXELS[: arguments.sizes]:
            photo = write_sized(Path(folder), megapixels)
            results = {
                "Python": run(sys.executable, arguments, OURS_ONNX, photo, points_per_side=16),
                "Python, PyTorch": run(sys.executable, arguments, OURS, photo, points_per_side=16),
                "mobilesam everything": command(arguments, photo, Path(folder) / "out"),
            }
            for name, result in results.items():
                numbers = {key: result[key] for key in ("seconds", "peak_bytes")}
                rows.append({"megapixels": megapixels, "run": name, **numbers})
                print(rows[-1], flush=True)
    return rows


def curve(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the time of exact runs against points per side and image size."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in MEGAPIXELS[:2][: arguments.sizes]:
            photo = write_sized(Path(folder), megapixels)
            for points in POINTS_PER_SIDE:
                result = run(sys.executable, arguments, OURS_ONNX, photo, points_per_side=points)
                rows.append({"megapixels": megapixels, "points_per_side": points, "seconds": result["seconds"]})
                print(rows[-1], flush=True)
    return rows


PARTS = {"curve": curve, "side": side, "recall": recall, "held_back": held_back, "memory": memory}


def main() -> None:
    """Run the parts named and update the JSON."""
    parser = make_parser(__doc__, PARTS)
    packages.add_arguments(parser)
    parser.add_argument("--image", type=Path, help="for side")
    parser.add_argument("--points-per-side", type=int, default=32, help="for side")
    parser.add_argument("--photos", type=Path, help="folder, for recall and held_back")
    parser.add_argument(
        "--at-once", type=int, default=PHOTOS, help="photos to add in this run, for recall and held_back"
    )
    parser.add_argument("--sizes", type=int, default=len(MEGAPIXELS), help="number of sizes, for memory and curve")
    arguments = parser.parse_args()
    write_parts(arguments, lambda part: {"rows": PARTS[part](arguments)})


if __name__ == "__main__":
    main()
