"""Importing is cheap: heavy libraries load when they are first needed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import mobilesam

HEAVY = {"torch", "torchvision", "cv2", "onnx", "onnxruntime", "gradio", "skimage", "matplotlib"}


def loaded_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stderr == ""
    return set(finished.stdout.split())


def test_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import mobilesam") & (HEAVY | {"numpy", "PIL", "typer", "rich"})


def test_the_command_line_loads_nothing_heavy() -> None:
    assert not loaded_after("from mobilesam.cli import build_app; build_app()") & (HEAVY | {"numpy", "PIL"})


def test_the_predictor_loads_without_torch() -> None:
    assert not loaded_after("from mobilesam import SamPredictor") & {"torch", "torchvision", "onnxruntime", "gradio"}


def test_importing_takes_less_than_150_ms() -> None:
    times = []
    for _ in range(3):
        command = [sys.executable, "-X", "importtime", "-c", "import mobilesam"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
        cumulative = [re.match(r"import time:\s*\d+ \|\s*(\d+) \| mobilesam$", line) for line in lines]
        times += [int(match[1]) for match in cumulative if match]
    assert len(times) == 3
    assert min(times) < 150_000


def test_public_names_are_listed_and_an_unknown_one_is_an_attribute_error() -> None:
    assert {"SamPredictor", "load", "sam_model_registry", "__version__"} <= set(dir(mobilesam))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", mobilesam.__version__)
    with pytest.raises(AttributeError, match="module 'mobilesam' has no attribute 'SamPredicator'"):
        mobilesam.SamPredicator  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "purpose"),
    [
        ("from mobilesam import sam_model_registry", "mobilesam.modeling"),
        ("from mobilesam.build_sam import build_sam", "mobilesam.modeling"),
        ("from mobilesam.modeling.tiny_vit_sam import TinyViT", "mobilesam.modeling"),
        ("from mobilesam.utils.onnx import SamOnnxModel", "mobilesam.utils.onnx"),
        ("from mobilesam.utils.amg import *; uncrop_masks(None, [0, 0, 1, 1], 1, 1)", "uncrop_masks"),
        ("from mobilesam.utils.amg import MaskData, batched_mask_to_box as f; f(MaskData())", "batched_mask_to_box"),
    ],
)
def test_what_needs_torch_says_so_where_there_is_none(statement: str, purpose: str) -> None:
    """Names that need no torch, such as ``from mobilesam.utils.amg import MaskData``, are imported without it."""
    code = f"import sys; sys.modules['torch'] = None\n{statement}"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.stderr.splitlines()[-1].startswith(
        f"mobilesam.errors.MissingDependencyError: {purpose} needs torch, which is not installed; run: pip install "
    )
