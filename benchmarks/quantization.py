"""Every recipe of ``mobilesam quantize`` on one export: size, time, and accuracy against ground truth.

python -m benchmarks.quantization --calibrate PHOTOS --annotations FILE --images DIR \\
    --out benchmarks/results/quantization.json

The images calibrated on must not be those measured on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import mobilesam
from benchmarks.common import add_dataset, make_parser, read_result, write_result
from mobilesam.evaluate import load_coco
from mobilesam.export import quantize
from mobilesam.export.exporter import export_onnx
from mobilesam.export.recipes import Recipe
from mobilesam.loading import require_torch
from mobilesam.onnx import OnnxSam


def main() -> None:
    """Export, quantize by each recipe, measure, and write the JSON."""
    parser = make_parser(__doc__)
    add_dataset(parser)
    parser.add_argument("--calibrate", type=Path, required=True, help="folder of images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-accuracy", action="store_true", help="measure the time, keep the accuracy in --out")
    arguments = parser.parse_args()
    accuracy = {row["recipe"]: row["accuracy"] for row in read_result(arguments.out).get("recipes", [])}
    dataset = load_coco(arguments.annotations, arguments.images, limit=arguments.limit)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_onnx(require_torch(mobilesam.load(backend="torch", device="cpu"), "the export").sam, folder / "float32")
        before = None
        if not arguments.skip_accuracy:
            before = quantize.measure(OnnxSam.from_files(folder / "float32", "cpu", arguments.threads), dataset)
        for recipe in Recipe:
            source, out = folder / "float32", folder / recipe
            files = quantize.quantize(source, out, recipe, calibrate=arguments.calibrate)
            report = quantize.report(recipe, files, source, out, threads=arguments.threads).as_json()
            if before:
                after = quantize.measure(OnnxSam.from_files(out, "cpu", arguments.threads), dataset)
                report["accuracy"] = quantize.accuracy_json(quantize.compare(before, after))
            else:
                report["accuracy"] = accuracy.get(recipe.value, {})
            rows.append(report)
            print(report, flush=True)
    write_result(arguments.out, {"threads": arguments.threads, "images": len(dataset.images), "recipes": rows})


if __name__ == "__main__":
    main()
