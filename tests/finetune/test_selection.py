"""Which weights a run ends with: how much of what was learned, and of which step."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mobilesam.finetune import heldback, loop
from mobilesam.finetune.objects import make_target
from mobilesam.finetune.settings import Settings
from mobilesam.finetune.snapshot import Snapshots
from mobilesam.finetune.training import TrainedImage, Trainer

pytestmark = [pytest.mark.torch, pytest.mark.weights]


def image(objects: int) -> TrainedImage:
    mask = np.zeros((90, 120), np.bool_)
    mask[20:60, 30:80] = True
    target = make_target(mask, 1024)
    assert target is not None
    return TrainedImage("image.png", 0, Path("never read"), (768, 1024), [target] * objects)


@pytest.mark.parametrize(("objects", "share"), [(10, 0.5), (200, 0.8)])
def test_less_is_kept_of_what_few_objects_teach(sam: Any, objects: int, share: float) -> None:
    trainer = Trainer(copy.deepcopy(sam), [image(objects)], Settings(), 10)
    state = trainer.state()
    trainer.restore({**state, "average": [each + 1 for each in state["average"]]})
    for blended, original in zip(trainer.blend(), state["parameters"], strict=True):
        assert torch.allclose(blended, original + share, atol=1e-5)


@pytest.mark.parametrize(
    ("objects", "means", "chosen"),
    [
        (100, (0.70, 0.75, 0.73), 1),  # the best
        (100, (0.70, 0.75, 0.745), 2),  # the latest of those as good
        (100, (0.70, 0.69, 0.68), 0),
        (8, (0.70, 0.75, 0.60), 2),  # chance
        (8, (0.70, 0.75, 0.20), 1),  # training failed
    ],
)
def test_few_held_back_objects_do_not_choose_the_step(
    sam: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, objects: int, means: tuple[float, ...], chosen: int
) -> None:
    measured: Iterator[float] = iter(means)

    def measure(*_: object, **__: object) -> heldback.Score:
        value = next(measured)
        return heldback.Score(value, value, math.nan)

    def advance(self: Trainer, *_: object) -> float:
        self.step += 1
        return 0.5

    monkeypatch.setattr(heldback, "measure", measure)
    monkeypatch.setattr(Trainer, "advance", advance)
    trainer = Trainer(copy.deepcopy(sam), [image(100)], Settings(), 2)
    course = loop.run(trainer, None, [image(objects)], 2, Snapshots(tmp_path / "state.pt", {}), resume=False)
    assert (course.best_step, course.stopped) == (chosen, "")
