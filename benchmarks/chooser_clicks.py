"""Series of clicks whose first mask is chosen by each rule: the number of clicks to an IoU of 0.85 and of 0.90.

python -m benchmarks.chooser_clicks --images DIR --annotations FILE --out benchmarks/results/chooser_clicks.json

Corrections are placed as ``mobilesam eval`` does, with the last mask fed back and the single-mask output.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

import mobilesam
from benchmarks.common import add_dataset, make_parser, write_result
from mobilesam.evaluate.clicks import center_click, next_click
from mobilesam.evaluate.coco import load_coco, read_instances
from mobilesam.evaluate.metrics import iou, number_of_clicks
from mobilesam.image.read import read_image

RULES = ("score", "agreement", "learned")
MOST, TARGETS = 10, (0.85, 0.90)


def series(predictor: mobilesam.SamPredictor, truth: Any, rule: str) -> list[float]:
    """Return the IoU after each click."""
    clicks, mask_input, ious = [center_click(truth)], None, list[float]()
    while True:
        points = [[click.x, click.y] for click in clicks]
        labels = [int(click.foreground) for click in clicks]
        select = rule if mask_input is None else "single"
        prediction = predictor.predict_one(points, labels, mask_input=mask_input, select=select)
        mask, mask_input = prediction.masks[0], prediction.low_res_logits
        ious.append(iou(mask, truth))
        click = next_click(mask, truth, clicks)
        if ious[-1] >= TARGETS[-1] or len(ious) == MOST or click is None:
            return ious
        clicks.append(click)


def main() -> None:
    """Measure, and write the JSON."""
    parser = make_parser(__doc__)
    add_dataset(parser)
    arguments = parser.parse_args()
    predictor = mobilesam.SamPredictor(mobilesam.load())
    dataset = load_coco(arguments.annotations, arguments.images, limit=arguments.limit)
    every: dict[str, list[list[float]]] = defaultdict(list)
    for place, annotated in enumerate(dataset.images):
        image = read_image(annotated.path)
        predictor.set_image(image)
        instances, _ = read_instances(annotated, (image.shape[0], image.shape[1]), dataset.categories)
        for instance in instances:
            for rule in RULES:
                every[rule].append(series(predictor, instance.mask, rule))
        print(f"{place + 1} of {len(dataset.images)}", flush=True)
    rows = [
        {
            "rule": rule,
            "objects": len(ious),
            "first": statistics.fmean(each[0] for each in ious),
            "second": statistics.fmean(each[min(1, len(each) - 1)] for each in ious),
            "last": statistics.fmean(each[-1] for each in ious),
            **{f"noc_{target:.2f}": statistics.fmean(number_of_clicks(each, target, MOST) for each in ious)
               for target in TARGETS},
        }
        for rule, ious in every.items()
    ]  # fmt: skip
    write_result(arguments.out, {"rows": rows})
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
