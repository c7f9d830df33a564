"""How a chooser is learned: a ridge regression, and small networks of one hidden layer, on the CPU.

:mod:`mobilesam.masks.chooser` applies what is learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mobilesam.arrays import AnyFloatArray, Array, FloatArray
from mobilesam.masks import chooser

_PREDICTED = list(range(0, 2 * chooser.MASKS, 2))  # the features that are the predicted IoUs


@dataclass(frozen=True)
class Recipe:
    """The size of the network and how it is learned; the defaults are those of the choosers in the package.

    hidden: neurons of each of ``members`` networks, each learned on its own draws.
    epochs: passes over the rows, with at least ``least_steps`` steps.
    batch: rows of a step, all of them if there are fewer.
    softness: temperature of the soft choice in the loss.
    alpha: of the ridge regression.
    residual: whether the regression is of the differences between true and predicted IoUs, so that with few rows it
        expects the predicted ones.
    """

    hidden: int = 28
    members: int = 3
    epochs: int = 60
    least_steps: int = 1
    batch: int = 512
    rate: float = 3e-3
    decay: float = 0.01
    dropout: float = 0.1
    softness: float = 0.05
    alpha: float = 0.03
    residual: bool = False
    seed: int = 0


def learn(features: FloatArray, truth: FloatArray, weight: AnyFloatArray, recipe: Recipe) -> dict[str, Array]:
    """Return the arrays of a chooser, weights in half precision.

    Args:
        features: (N, F), of :mod:`mobilesam.masks.chooser` or of that of boxes.
        truth: (N, 4), the true IoUs of the four masks.
        weight: (N,), of each row.
    """
    weight = (weight / weight.mean()).astype(np.float32)
    mean = np.average(features, axis=0, weights=weight)
    scale = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weight)) + 1e-3
    standard = np.clip((features - mean) / scale, -chooser.LIMIT, chooser.LIMIT).astype(np.float32)
    learned: dict[str, AnyFloatArray] = {"mean": mean, "scale": scale}
    if recipe.residual:
        predicted = np.zeros((len(mean), chooser.MASKS))
        predicted[_PREDICTED, range(chooser.MASKS)] = scale[_PREDICTED]
        offset = mean[_PREDICTED]
        line = _line(standard, truth - (standard @ predicted + offset), weight, recipe)
        learned |= {"linear_weight": predicted + line["linear_weight"], "linear_bias": offset + line["linear_bias"]}
    else:
        learned |= _line(standard, truth, weight, recipe)
    learned |= _network(standard, truth, weight, recipe)
    # What is measured is what is written.
    return {
        name: value.astype(np.float16 if name.endswith("_weight") else np.float32) for name, value in learned.items()
    }


def predict(learned: Mapping[str, Array], features: FloatArray) -> FloatArray:
    """Return the expected IoUs, (N, 4)."""
    return chooser.expected_ious(features, {name: value.astype(np.float32) for name, value in learned.items()})


def _line(x: FloatArray, truth: AnyFloatArray, weight: AnyFloatArray, recipe: Recipe) -> dict[str, AnyFloatArray]:
    """Return a weighted ridge regression."""
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    penalty = recipe.alpha * weight.sum() * np.eye(design.shape[1])
    penalty[-1, -1] = 0
    solved = np.linalg.solve(design.T @ (design * weight[:, None]) + penalty, design.T @ (truth * weight[:, None]))
    return {"linear_weight": solved[:-1], "linear_bias": solved[-1]}


def _network(x: FloatArray, truth: FloatArray, weight: AnyFloatArray, recipe: Recipe) -> dict[str, AnyFloatArray]:
    """Return networks of one hidden layer, side by side as one whose output is the mean of theirs.

    The loss is the cross-entropy with the true IoUs as probabilities, less the true IoU of a soft choice.
    """
    random = torch.Generator().manual_seed(recipe.seed)
    inputs, truths, weights = (torch.from_numpy(np.asarray(each, np.float32)) for each in (x, truth, weight))
    members, features = recipe.members, x.shape[1]
    first = (torch.randn(members, features, recipe.hidden, generator=random) * 1.4 / features**0.5).requires_grad_()
    last = (torch.randn(members, recipe.hidden, 4, generator=random) * 0.5 / recipe.hidden**0.5).requires_grad_()
    biases = [torch.zeros(members, 1, size, requires_grad=True) for size in (recipe.hidden, 4)]
    groups = [{"params": [first, last], "weight_decay": recipe.decay}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.rate)
    batch = min(recipe.batch, len(x))
    steps = max(recipe.epochs * (len(x) // batch), recipe.least_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for _ in range(steps):
        drawn = torch.randint(len(x), (members, batch), generator=random)
        hidden = torch.relu(torch.bmm(inputs[drawn], first) + biases[0])
        kept = torch.rand(hidden.shape, generator=random) > recipe.dropout
        output = torch.bmm(hidden * kept / (1 - recipe.dropout), last) + biases[1]
        target = truths[drawn]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(output, target, reduction="none").mean(2)
        soft = torch.softmax(torch.sigmoid(output) / recipe.softness, 2)
        loss = loss - (soft * target).sum(2)
        optimizer.zero_grad()
        (loss * weights[drawn]).mean(1).sum().backward()
        optimizer.step()
        schedule.step()
    matrices = first.detach().numpy(), last.detach().numpy() / members
    hidden_bias, output_bias = (each.detach().numpy()[:, 0] for each in biases)
    return {
        "hidden_weight": np.concatenate(list(matrices[0]), axis=1),
        "hidden_bias": np.concatenate(list(hidden_bias)),
        "output_weight": np.concatenate(list(matrices[1])),
        "output_bias": output_bias.mean(axis=0),
    }
