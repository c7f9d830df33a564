"""Learn the expectation of the modes "fast" and "balanced" from the masks of the exact mode, and measure it.

python -m benchmarks.expected_masks data --out DIR IMAGE ...
python -m benchmarks.expected_masks learn --data DIR --annotations instances.json \\
    --out benchmarks/results/expected_masks.json --write mobilesam/automatic/expected_masks.npz

It is learned on the images whose license allows commercial use. The modes are simulated on all of them, cross-validated
by image, and with each domain left out. It needs PyTorch.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.chooser_data import COMMERCIAL
from benchmarks.common import write_learned, write_result
from benchmarks.expected_masks_data import Photo, best_orders, make_data, read_photos
from mobilesam.automatic.expected_masks import DECAYS, FILE, log_rates
from mobilesam.automatic.exploration import MOST_SHARE, SHARE, Expectation

# A mask is of the first kind if fewer points of the grid than the second number give it, and so on.
KINDS = (1, 3, 9, 33, np.inf)
MODES = ("fast", "balanced")
CURVE = (32, 64, 96, 128, 176, 256, 384, 512)
_HIDDEN, _EPOCHS, _BATCH, _RATE, _DECAY, _DROPOUT = 32, 15, 512, 3e-3, 0.05, (0.1, 0.2)
_FOLDS = 4
_MARGIN = 0.9  # a run has this share of the rule's points on average, so that images with more masks take no longer


class Run(NamedTuple):
    """A simulated run: the points in the order decoded, and the logarithm of the new masks expected of each."""

    order: np.ndarray
    expected: np.ndarray


def targets(photo: Photo) -> np.ndarray:
    """Return whether each point gives a mask of each kind, (N, K)."""
    points = photo.gives.sum(axis=0)
    kinds = [(points >= low) & (points < high) for low, high in itertools.pairwise(KINDS)]
    return np.stack([photo.gives[:, kind].any(axis=1) for kind in kinds], axis=1)


def learn(photos: Sequence[Photo]) -> dict[str, np.ndarray]:
    """Return the parameters of the network."""
    random = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    inputs = torch.from_numpy(np.concatenate([photo.vectors for photo in photos]).astype(np.float32))
    truth = torch.from_numpy(np.concatenate([targets(photo) for photo in photos]).astype(np.float32))
    mean, scale = inputs.mean(0), inputs.std(0) + 1e-3
    hidden, output = torch.nn.Linear(inputs.shape[1], _HIDDEN), torch.nn.Linear(_HIDDEN, truth.shape[1])
    layers = torch.nn.Dropout(_DROPOUT[0]), hidden, torch.nn.ReLU(), torch.nn.Dropout(_DROPOUT[1]), output
    network = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    steps = _EPOCHS * len(inputs) // _BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        drawn = torch.randint(len(inputs), (_BATCH,), generator=random)
        logits = network((inputs[drawn] - mean) / scale)
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[drawn]).backward()
        optimizer.step()
        schedule.step()
    weight = hidden.weight.detach() / scale
    learned = {
        "hidden_weight": weight.T,
        "hidden_bias": hidden.bias.detach() - weight @ mean,
        "output_weight": output.weight.detach().T,
        "output_bias": output.bias.detach(),
    }
    # What is measured is what is written.
    return {
        name: value.numpy().astype(np.float16 if name.endswith("_weight") else np.float32)
        for name, value in learned.items()
    }


def simulate(photo: Photo, learned: Mapping[str, np.ndarray] | None) -> Run:
    """Return a run that does not end before the most points of any mode; without parameters by the rule."""
    expectation = None
    if learned is not None:
        floats = {name: value.astype(np.float32) for name, value in learned.items()}
        expectation = Expectation(log_rates(photo.vectors.astype(np.float32), floats), DECAYS, -np.inf)
    return Run(*photo.explore(expectation, int(max(MOST_SHARE[mode] for mode in MODES) * len(photo.points))))


def validate(photos: Sequence[Photo], allowed: np.ndarray, groups: np.ndarray) -> list[Run]:
    """Return a run on each photo, by parameters learned on the allowed photos of other groups."""
    runs: dict[int, Run] = {}
    for group in np.unique(groups):
        learned = learn([photos[place] for place in np.flatnonzero(allowed & (groups != group))])
        runs |= {place: simulate(photos[place], learned) for place in np.flatnonzero(groups == group).tolist()}
    return [runs[place] for place in range(len(photos))]


def share_found(photos: Sequence[Photo], orders: Sequence[np.ndarray], counts: Sequence[int]) -> float:
    """Return the share of the exact masks of all photos that the first points of each order find."""
    count = sum(photo.count(order[:n]) for photo, order, n in zip(photos, orders, counts, strict=True))
    return count / sum(photo.same.shape[1] for photo in photos)


def counts_at(photos: Sequence[Photo], runs: Sequence[Run], mode: str, log_least: float) -> list[int]:
    """Return after how many points each run ends."""
    ends = [int((np.minimum.accumulate(run.expected) >= log_least).sum()) for run in runs]
    return [min(n, int(MOST_SHARE[mode] * len(photo.points))) for n, photo in zip(ends, photos, strict=True)]


def least_of(photos: Sequence[Photo], runs: Sequence[Run], mode: str) -> float:
    """Return the expectation, as a logarithm, at which runs end with somewhat fewer points on average than the rule."""
    wanted = _MARGIN * SHARE[mode] * sum(len(photo.points) for photo in photos)
    low, high = -30.0, 0.0
    for _ in range(50):
        middle = (low + high) / 2
        enough = sum(counts_at(photos, runs, mode, middle)) <= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high


def measure(photos: Sequence[Photo], runs: Sequence[Run], rule: Sequence[Run], domains: np.ndarray) -> dict[str, Any]:
    """Return for each mode the points and the share of masks, of all photos and by domain, beside the rule's."""
    result: dict[str, Any] = {}
    for mode in MODES:
        counts = np.array(counts_at(photos, runs, mode, least_of(photos, runs, mode)))
        fixed = [int(SHARE[mode] * len(photo.points)) for photo in photos]
        rows = {}
        for name, chosen in {
            "all": domains != "",
            **{str(each): domains == each for each in np.unique(domains)},
        }.items():
            part = [(photos[i], runs[i].order, rule[i].order, counts[i], fixed[i]) for i in np.flatnonzero(chosen)]
            of, orders, by_rule, taken, equal = zip(*part, strict=True)
            rows[name] = {
                "photos": len(of),
                "points": float(np.mean(taken)),
                "median_points": float(np.median(taken)),
                "learned": share_found(of, orders, taken),
                "learned, the same number for each": share_found(of, orders, equal),
                "rule": share_found(of, by_rule, equal),
            }
            print(mode, name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
        result[mode] = rows
    return result


def _run(arguments: argparse.Namespace) -> None:
    photos = read_photos(arguments.data)
    about = json.loads(arguments.annotations.read_text(encoding="utf-8"))["images"]
    entries = {Path(entry["file_name"]).stem: entry for entry in about}
    domains = np.array([entries[photo.name]["domain"] for photo in photos])
    allowed = np.array([entries[photo.name]["license"].startswith(COMMERCIAL) for photo in photos])
    folds = np.zeros(len(photos), np.int64)
    for domain in np.unique(domains):
        folds[domains == domain] = np.arange(np.count_nonzero(domains == domain)) % _FOLDS
    rule = [simulate(photo, None) for photo in photos]
    validated, best = validate(photos, allowed, folds), list(best_orders(photos))
    result = {
        "images": [photo.name for photo in photos],
        "learned on": [photo.name for photo, used in zip(photos, allowed, strict=True) if used],
        "masks": sum(photo.same.shape[1] for photo in photos),
        "cross-validated": measure(photos, validated, rule, domains),
        "domain left out": measure(photos, validate(photos, allowed, domains), rule, domains),
        "curve": [
            {
                "points": n,
                **{
                    name: share_found(photos, orders, [n] * len(photos))
                    for name, orders in (
                        ("learned", [run.order for run in validated]),
                        ("rule", [run.order for run in rule]),
                        ("best", best),
                    )
                },
            }
            for n in CURVE
        ],
    }
    if arguments.write:
        learned = learn([photo for photo, used in zip(photos, allowed, strict=True) if used])
        least = {f"least_{mode}": np.float32(np.exp(least_of(photos, validated, mode))) for mode in MODES}
        result["bytes"] = write_learned(arguments.write, FILE.form, {**learned, **least})
        result |= {name: float(value) for name, value in least.items()}
    write_result(arguments.out, result)


def main() -> None:
    """Write what the exact mode finds on images, or learn from it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_data = commands.add_parser("data", help="run the exact mode on images")
    of_data.add_argument("--out", type=Path, required=True, help="folder")
    of_data.add_argument("images", type=Path, nargs="+")
    of_learn = commands.add_parser("learn", help="learn, validate and measure")
    of_learn.add_argument("--data", type=Path, required=True, help="folder from data")
    of_learn.add_argument("--annotations", type=Path, required=True, help="COCO JSON, whose images have a domain")
    of_learn.add_argument("--out", type=Path, required=True, help="JSON file")
    of_learn.add_argument("--write", type=Path, help="the file of the expectation, .npz")
    arguments = parser.parse_args()
    if arguments.command == "data":
        make_data(arguments.images, arguments.out)
    else:
        torch.set_num_threads(1)
        _run(arguments)


if __name__ == "__main__":
    main()
