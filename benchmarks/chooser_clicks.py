"""Series of clicks whose first mask is chosen by each rule: the number of clicks to an IoU of 0.85 and of 0.90.

python -m benchmarks.chooser_clicks --images DIR --annotations FILE --out benchmarks/results/chooser_clicks.json

Corrections are placed as ``mobilesam eval`` does, with the last mask fed back and the single-mask output.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

import mobilesam
from benchmarks.common import add_dataset, annotated_objects, make_parser, write_result
from mobilesam.evaluate.clicks import center_click, next_click
from mobilesam.evaluate.metrics import iou, number_of_clicks

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
    every: dict[str, list[list[float]]] = defaultdict(list)
    for _, instance in annotated_objects(arguments, predictor):
        for rule in RULES:
            every[rule].append(series(predictor, instance.mask, rule))
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
