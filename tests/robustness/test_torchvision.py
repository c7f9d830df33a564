"""torchvision removes duplicate boxes on an accelerator exactly as the NumPy code does, and is never needed.

On tensors of the CPU here, through the same function. Where the installed torchvision is built for another torch (a
CPU build of torch beside PyPI's torchvision), the comparisons are skipped, and the others run.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.masks import boxes
from tests.automatic.color_model import ColorModel
from tests.photos import photo

pytestmark = pytest.mark.torch


@pytest.fixture
def device_nms():
    from mobilesam.masks import device_nms

    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed: run make test")
    if not device_nms.available():
        pytest.skip("torchvision does not fit the installed torch")
    return device_nms


def scene(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes of whole pixels, many equal, some without area, and scores, many equal."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, side, (count, 2))
    sides = random.integers(0, max(2, side // 4), (count, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32), random.random(count).round(2)


@pytest.mark.parametrize("iou_threshold", [0.0, 0.1, 0.5, 0.7, 1.0])
@pytest.mark.parametrize(("count", "side"), [(0, 9), (1, 9), (60, 6), (500, 40), (900, 1000)])
def test_the_same_boxes_are_kept_in_the_same_order(device_nms, count: int, side: int, iou_threshold: float) -> None:
    import torch

    for seed in range(3):
        corners, scores = scene(count, side, seed)
        ours = boxes.nms(corners, scores, iou_threshold)
        theirs = device_nms.nms(corners, scores, iou_threshold, torch.device("cpu"))
        np.testing.assert_array_equal(theirs, ours)


def test_an_iou_of_just_the_threshold_is_kept_by_both(device_nms) -> None:
    import torch

    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 1], [0, 0, 10, 7]], np.float32)  # IoU 0.1 and 0.7 with the first
    for iou_threshold in (0.1, 0.7, float(np.float32(0.1)), float(np.float32(0.7))):
        theirs = device_nms.nms(corners, np.array([3.0, 2.0, 1.0]), iou_threshold, torch.device("cpu"))
        np.testing.assert_array_equal(theirs, boxes.nms(corners, np.array([3.0, 2.0, 1.0]), iou_threshold))


def test_everything_mode_finds_the_same(device_nms) -> None:
    import torch

    class OnDevice(ColorModel):
        calls = 0

        def nms(self, corners, scores, iou_threshold):
            self.calls += 1
            return device_nms.nms(corners, scores, iou_threshold, torch.device("cpu"))

    result = []
    for model in (ColorModel(), OnDevice()):
        options = {"points_per_side": 12, "crop_n_layers": 1, "output_mode": "uncompressed_rle"}
        result.append(SamAutomaticMaskGenerator(model, **options).generate(photo("coins") // 64 * 64))
    assert model.calls > 1
    assert len(result[0]) > 3
    assert result[0] == result[1]


def test_resizing_a_tensor_is_what_torchvision_does(device_nms) -> None:
    """Which is why mobilesam does not need torchvision for it."""
    import torch
    from torchvision.transforms.v2 import functional

    from mobilesam.image.transform import ResizeLongestSide

    pixels = torch.from_numpy(photo("chelsea").transpose(2, 0, 1)[None].astype(np.float32))
    ours = ResizeLongestSide(256).apply_image_torch(pixels)
    theirs = functional.resize(pixels, list(ours.shape[-2:]), antialias=True)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize(
    "code",
    ["raise RuntimeError('operator torchvision::nms does not exist')", "import missing_part_of_torchvision"],
    ids=["built for another torch", "incomplete"],
)
def test_without_a_torchvision_that_fits_numpy_does_it(tmp_path: Path, code: str) -> None:
    """The network is on torch's meta device, which is no CPU and needs no accelerator."""
    (tmp_path / "torchvision.py").write_text(code)
    script = (
        "import numpy as np\n"
        "from mobilesam.config import VARIANTS\n"
        "from mobilesam.modeling import Sam\n"
        "from mobilesam.modeling.torch_sam import TorchSam\n"
        "model = TorchSam(Sam(VARIANTS['vit_t']).to('meta'))\n"
        "assert model.sam.device.type == 'meta'\n"
        "boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]], np.float32)\n"
        "print(model.nms(boxes, np.array([0.5, 0.9, 0.7]), 0.7).tolist())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    finished = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (finished.stdout, finished.stderr) == ("[1, 2]\n", "")
