"""GPUs are requested from Ray if the model runs on one, and Ray transfers files, not pixels."""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mobilesam import loading
from mobilesam.batch import ModelChoice
from mobilesam.batch.ray_engine import gpu_share, wants_gpu
from mobilesam.errors import InputError
from mobilesam.onnx import providers
from tests.automatic.color_model import ColorModel
from tests.batch.object_storage import make_bucket, objects, put, server
from tests.batch.works import gpus_in, note_gpus
from tests.conftest import ROOT
from tests.robustness.batch_runs import ColorChoice, contents, paint, segment


class WitnessChoice(ColorChoice):
    """Writes into the folder ``model`` which GPUs Ray has given to each process that loads the model."""

    def load(self) -> ColorModel:
        assert self.model is not None
        note_gpus(Path(self.model))
        return ColorModel()


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (ModelChoice(device="cuda"), True),
        (ModelChoice(provider="cuda"), True),
        (ModelChoice(device="cuda", backend="onnx"), True),
        (ModelChoice(device="cpu"), False),
        (ModelChoice(provider="openvino"), False),
        (ModelChoice(device="mps"), False),
        (ModelChoice(device="auto", provider="openvino"), False),
        (ModelChoice(device="auto", provider="tensorrt"), True),
    ],
)
def test_a_gpu_is_requested_if_one_is_named(choice: ModelChoice, wanted: bool) -> None:
    assert wants_gpu(choice) is wanted


@pytest.mark.parametrize(("device", "wanted"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_a_gpu_is_requested_if_the_default_device_is_one(
    monkeypatch: pytest.MonkeyPatch, device: str, wanted: bool
) -> None:
    """With PyTorch and with ONNX Runtime; the device is simulated, since this machine may have none."""
    monkeypatch.setattr(loading, "onnx_is_faster", lambda _: device == "cpu")
    monkeypatch.setattr("mobilesam.runtimes.torch.resolve_device", lambda _: SimpleNamespace(type=device))
    monkeypatch.setattr(providers, "available", lambda: [device, "cpu"])
    assert wants_gpu(ModelChoice(device="auto")) is wanted
    assert wants_gpu(ModelChoice(device="auto", backend="onnx")) is wanted


def test_ray_chooses_which_gpu() -> None:
    with pytest.raises(
        InputError,
        match="device must not name a particular GPU with --engine ray, got 'cuda:1'; use cuda, and Ray assigns",
    ):
        wants_gpu(ModelChoice(device="cuda:1"))


def test_workers_share_gpus_that_are_too_few() -> None:
    shares = {(workers, gpus): gpu_share(workers, gpus) for workers in range(1, 9) for gpus in range(1, 5)}
    assert (shares[1, 1], shares[2, 1], shares[3, 2], shares[8, 4]) == (1, 1 / 2, 1 / 2, 1 / 2)
    for (workers, gpus), share in shares.items():
        assert int(1 / share) * gpus >= workers, "Ray would wait forever"
    with pytest.raises(
        InputError, match=r"^The Ray cluster has no GPU\. Start Ray on a machine with a GPU, or use --device cpu\.$"
    ):
        gpu_share(2, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")  # in Ray
def test_actors_get_gpus_of_their_own_and_the_bytes_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray counts two GPUs, although this machine may have none; decoded, the images would fill its memory."""
    import ray
    import ray.data

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for number in range(8):
        paint(Path(f"photos/{number}.png"), shift=number, hw=(750, 1000))
    Path("photos/broken.png").write_bytes(b"no image")
    pixels = 8 * 750 * 1000 * 3
    held = []

    def look(*_: int) -> None:
        held.append(size - ray.available_resources().get("object_store_memory", 0))

    Path("seen").mkdir()
    choice = WitnessChoice("seen", device="cuda")
    ray.init(num_cpus=3, num_gpus=2, include_dashboard=False, log_to_driver=False)
    logger, context = logging.getLogger("ray.data"), ray.data.DataContext.get_current()
    try:
        before = logger.level, context.enable_progress_bars
        size = ray.cluster_resources()["object_store_memory"]
        report = segment(["photos"], Path("ray"), model=choice, workers=2, engine="ray", progress=look)
        assert (report.done, [each.source for each in report.bad]) == (8, ["photos/broken.png"])
        assert gpus_in(Path("seen")) == [[[0], "0"], [[1], "1"]]
        assert ray.is_initialized(), "it was there before the run"
        assert (logger.level, context.enable_progress_bars) == before
        assert before[0] < logging.ERROR
        assert before[1] is True
        assert 0 <= max(held) < pixels / 10
        held.clear()
        decoded = ray.put(np.zeros(pixels, np.uint8))
        for _ in range(10_000):  # Ray reports it a few milliseconds late
            look()
            if held[-1] >= pixels:
                break
        assert max(held) >= pixels, "the figures above show what is held"
        del decoded
    finally:
        ray.shutdown()
    segment(["photos"], Path("local"), model=choice)
    assert contents(Path("ray")) == contents(Path("local"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")  # in Ray
def test_ray_reads_and_writes_object_storage_and_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are given to Ray some at a time."""
    from mobilesam.batch import ray_engine

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(ray_engine, "_PER_WORKER", 8)
    for number in range(12):
        paint(Path(f"photos/{number}.png"), shift=number)
    with tarfile.open("a.tar", "w") as tar:
        tar.add("photos", ".")
    with server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        make_bucket("bucket")
        for path in Path("photos").iterdir():
            put(f"s3://bucket/photos/{path.name}", path.read_bytes())
        put("s3://bucket/photos/broken.png", b"no image")
        inputs = ["s3://bucket/photos", "a.tar"]
        report = segment(inputs, "s3://bucket/ray", workers=2, engine="ray")
        assert (report.done, [each.source for each in report.bad]) == (24, ["s3://bucket/photos/broken.png"])
        segment(inputs, "s3://bucket/local")
        assert objects("s3://bucket/ray") == objects("s3://bucket/local")
