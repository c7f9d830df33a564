"""Learn the chooser among the masks of one click, or of one box, and measure it.

python -m benchmarks.chooser data --images DIR --annotations FILE --augment --out train.npz
python -m benchmarks.chooser data --images OTHER --annotations FILE --out test.npz
python -m benchmarks.chooser learn --train train.npz --test test.npz --out benchmarks/results/chooser.json \\
    --write mobilesam/masks/chooser.npz

With --boxes, data decodes the exact box of each object and one with moved edges, and learn is of boxes:

python -m benchmarks.chooser learn --boxes --train boxes.npz --test test-boxes.npz --epochs 400 \\
    --out benchmarks/results/box_chooser.json --write mobilesam/masks/box_chooser.npz

It is learned on the first images alone: twice, on all of them and on those whose license allows commercial use, which
gives the file that is written. Each is cross-validated by image, and with each domain left out. It needs PyTorch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.chooser_data import Data, make_data, read_data
from benchmarks.common import write_learned, write_result
from mobilesam.finetune.chooser_learning import Recipe, learn, predict
from mobilesam.masks import box_chooser, chooser

_RANDOM_WEIGHT = 0.2  # of a random click; the inmost one has 1
_RARE_WEIGHT = 3.0  # of everyday photos among those of a commercial license, which are few
_RARE = "everyday_photo"
_FOLDS = 5
_BINS = 10  # of the calibration error


def learn_part(
    data: Data, part: np.ndarray, recipe: Recipe, *, rare_weight: float = 1.0, other_weight: float = _RANDOM_WEIGHT
) -> dict[str, np.ndarray]:
    """Return the parameters of a chooser learned on the clicks of ``part``; ``other_weight`` is of those not inmost."""
    weight = np.where(data.inmost, 1.0, other_weight) * np.where(data.domain == _RARE, rare_weight, 1.0)
    return learn(data.features[part], data.truth[part], weight[part], recipe)


def cross_validate(data: Data, allowed: np.ndarray, **options: Any) -> np.ndarray:
    """Return the expected IoUs of each click, learned on other images."""
    folds, expected = _folds(data), np.zeros_like(data.truth)
    for fold in range(_FOLDS):
        learned = learn_part(data, (folds != fold) & allowed, **options)
        expected[folds == fold] = predict(learned, data.features[folds == fold])
    return expected


def leave_out(data: Data, allowed: np.ndarray, **options: Any) -> np.ndarray:
    """Return the expected IoUs of each click, learned on other domains."""
    expected = np.zeros_like(data.truth)
    for domain in np.unique(data.domain):
        learned = learn_part(data, (data.domain != domain) & allowed, **options)
        expected[data.domain == domain] = predict(learned, data.features[data.domain == domain])
    return expected


def _folds(data: Data) -> np.ndarray:
    """Return the fold of each click: that of its image, with each domain in every fold."""
    random, fold = np.random.default_rng(0), {}
    for domain in np.unique(data.domain):
        for place, image in enumerate(random.permutation(np.unique(data.image[data.domain == domain]))):
            fold[image] = place % _FOLDS
    return np.array([fold[image] for image in data.image])


def measure(data: Data, part: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Return mean IoUs, the share of the gap that is closed, and the calibration, of all clicks and by domain."""
    domains = {
        str(domain): _measure(data, part & (data.domain == domain), expected) for domain in np.unique(data.domain)
    }
    return {**_measure(data, part, expected), "domains": domains}


def _measure(data: Data, part: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    truth, row = data.truth[part], np.arange(np.count_nonzero(part))
    score = truth[row, 1 + data.predicted[part][:, 1:].argmax(axis=1)].mean()
    best, agreement = truth[:, 1:].max(axis=1).mean(), truth[row, data.agreement[part]].mean()
    chosen = expected[part].argmax(axis=1)
    taken, sure = truth[row, chosen], expected[part][row, chosen]
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    calibration = [
        {"bin": int(place), "n": int(used.sum()), "confidence": sure[used].mean(), "iou": taken[used].mean()}
        for place in np.unique(bins)
        for used in [bins == place]
    ]
    error = sum(each["n"] * abs(each["confidence"] - each["iou"]) for each in calibration) / len(row)
    return {
        "clicks": len(row),
        **{"score": score, "single": truth[:, 0].mean(), "agreement": agreement, "learned": taken.mean(), "best": best},
        "share": (taken.mean() - score) / (best - score),
        "share_agreement": (agreement - score) / (best - score),
        "calibration_error": error,
        "calibration": calibration,
    }


def _run(arguments: argparse.Namespace) -> None:
    data, test = read_data(arguments.train), read_data(arguments.test)
    everything = np.full(len(data.truth), True)
    inmost, others = data.inmost & data.original, ~data.inmost & data.original
    other = "inexact boxes" if arguments.boxes else "random clicks"
    fixed = {"recipe": Recipe(epochs=arguments.epochs), "other_weight": 1.0 if arguments.boxes else _RANDOM_WEIGHT}
    result: dict[str, Any] = {"images": {}}
    learned: dict[str, np.ndarray] = {}
    for name, allowed, rare_weight in (("all", everything, 1.0), ("commercial", data.commercial, _RARE_WEIGHT)):
        options: dict[str, Any] = {**fixed, "rare_weight": rare_weight}
        validated, left_out = cross_validate(data, allowed, **options), leave_out(data, allowed, **options)
        learned = learn_part(data, allowed, **options)
        expected = predict(learned, test.features)
        result[name] = {
            "cross-validated": measure(data, inmost, validated),
            f"cross-validated, {other}": measure(data, others, validated),
            "domain left out": measure(data, inmost, left_out),
            f"domain left out, {other}": measure(data, others, left_out),
            "test": measure(test, test.inmost, expected),
            f"test, {other}": measure(test, ~test.inmost, expected),
        }
        used = allowed & data.original & data.inmost
        result["images"][name] = {"images": len(np.unique(data.image[used])), "objects": int(used.sum())}
        for kind, values in result[name].items():
            shares = f"share {values['share']:.3f} (agreement {values['share_agreement']:.3f})"
            baselines = f"single {values['single']:.4f}, {shares}"
            print(f"{name}, {kind}: {values['learned']:.4f}, {baselines}, error {values['calibration_error']:.3f}")
            for domain, each in values["domains"].items():
                baselines = f"single {each['single']:.4f}, agreement {each['agreement']:.4f}"
                print(f"    {domain}: {each['learned']:.4f}, {baselines}")
    if arguments.write:
        file = (box_chooser if arguments.boxes else chooser).FILE
        result["bytes"] = write_learned(arguments.write, file.form, learned)
    write_result(arguments.out, result)


def main() -> None:
    """Write the clicks of a data set, or learn from them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_data = commands.add_parser("data", help="decode clicks on the objects of a data set")
    of_data.add_argument("--images", type=Path, required=True, help="folder of the annotated images")
    of_data.add_argument("--annotations", type=Path, required=True, help="COCO JSON, whose images have domain, license")
    of_data.add_argument("--boxes", action="store_true", help="boxes instead of clicks")
    of_data.add_argument("--augment", action="store_true", help="add mirrored and cropped images")
    of_data.add_argument("--limit", type=int, help="the largest number of images")
    of_data.add_argument("--out", type=Path, required=True, help=".npz file")
    of_learn = commands.add_parser("learn", help="learn, validate and measure")
    of_learn.add_argument("--boxes", action="store_true", help="the data are of boxes")
    of_learn.add_argument("--epochs", type=int, default=Recipe.epochs, help="passes over the data")
    of_learn.add_argument("--train", type=Path, required=True, help="from data")
    of_learn.add_argument("--test", type=Path, required=True, help="from data, of other images")
    of_learn.add_argument("--out", type=Path, required=True, help="JSON file")
    of_learn.add_argument("--write", type=Path, help="the chooser's file, .npz")
    arguments = parser.parse_args()
    if arguments.command == "data":
        kind = {"boxes": arguments.boxes, "augment": arguments.augment, "limit": arguments.limit}
        make_data(arguments.images, arguments.annotations, arguments.out, **kind)
    else:
        torch.set_num_threads(1)
        _run(arguments)


if __name__ == "__main__":
    main()
