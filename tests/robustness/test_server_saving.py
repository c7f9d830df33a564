"""Saving takes a small multiple of the memory of one mask, for any number of segments and of clients."""

from __future__ import annotations

import io
import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.page_client import Client
from mobilesam.errors import InputError
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.serve.engine import Limits
from mobilesam.serve.models import Models
from mobilesam.serve.values import OpenImage
from mobilesam.webui.saving import save
from mobilesam.webui.service import Service
from mobilesam.webui.session import Session
from mobilesam.webui.view import record_view
from tests.robustness.server_client import serving

HW = (1500, 2000)
COUNT = 120
SEGMENTS = b'{"run": 0}'


@pytest.fixture(scope="module")
def masks() -> npt.NDArray[np.integer[Any]]:
    """Return the rows and columns of overlapping rectangles, (N, 4) x1 y1 x2 y2."""
    random = np.random.default_rng(3)
    corners = random.integers(0, (HW[1] - 500, HW[0] - 500), (COUNT, 2))
    return np.concatenate([corners, corners + random.integers(50, 500, (COUNT, 2))], axis=1)


@pytest.fixture(scope="module")
def session(masks: npt.NDArray[np.integer[Any]]) -> Session:
    records: list[MaskRecord] = []
    for x1, y1, x2, y2 in masks.tolist():
        boundaries = rle.rectangle(x1, y1, x2, y2, HW[0])
        records.append(
            {
                "segmentation": rle.to_uncompressed(boundaries, HW),
                "area": rle.area(boundaries),
                "bbox": [x1, y1, x2 - x1 - 1, y2 - y1 - 1],
                "predicted_iou": 0.9,
                "point_coords": [[x1, y1]],
                "stability_score": 0.9,
                "crop_box": [0, 0, HW[1], HW[0]],
            }
        )
    return Session("onnx", OpenImage("digest", HW, "many.png"), segments=tuple(records))


@pytest.fixture(scope="module")
def service() -> Service:
    service = Service(Models({}), Limits())
    image = np.broadcast_to(np.arange(1, HW[1] * 3 + 1).reshape(-1, 3) % 251 + 1, (*HW, 3)).astype(np.uint8)
    service.images.put("digest", image, image.nbytes)
    return service


@pytest.mark.parametrize(
    ("kind", "most"), [("mask", 4), ("cutout", 8), ("coco", 1), ("labelme", 5), ("yolo", 5), ("masks", 5)]
)
def test_saving_everything_costs_a_few_masks(kind: str, most: int, service: Service, session: Session) -> None:
    tracemalloc.start()
    try:
        saved = save(service, session, kind, SEGMENTS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert saved.content
    assert peak < most * HW[0] * HW[1] + 4_000_000


@pytest.mark.parametrize("selected", [[], [3], [0, 5, 119]])
def test_what_is_saved_is_the_union_of_the_segments(
    selected: list[int], service: Service, session: Session, masks: npt.NDArray[np.integer[Any]]
) -> None:
    expected = np.zeros(HW, np.bool_)
    for x1, y1, x2, y2 in masks[selected or slice(None)].tolist():
        expected[y1:y2, x1:x2] = True
    content = json.dumps({"run": 0, "selected": selected}).encode()
    mask = Image.open(io.BytesIO(save(service, session, "mask", content).content))
    assert (mask.mode, np.array_equal(np.asarray(mask), expected * np.uint8(255))) == ("L", True)
    cutout = np.asarray(Image.open(io.BytesIO(save(service, session, "cutout", content).content)))
    image = service.images.get("digest")
    assert image is not None
    assert np.array_equal(cutout[expected][:, :3], image[expected])
    assert set(np.unique(cutout[expected][:, 3])) == {255}
    assert not cutout[~expected].any()


def test_objects_take_the_memory_of_their_run_lengths(service: Service, session: Session) -> None:
    """The objects of a large request are not unpacked into lists of numbers that stay."""
    frozen = [record_view(record) for record in session.segments]
    content = json.dumps({"objects": frozen * 20}).encode()
    tracemalloc.start()
    try:
        save(service, session, "mask", content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * len(content) + 3 * HW[0] * HW[1]


def test_more_masks_than_can_be_written_in_a_reasonable_time_are_refused(
    service: Service, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilesam.webui.saving._MAX_PIXELS", 119 * HW[0] * HW[1])
    with pytest.raises(InputError) as caught:
        save(service, session, "all", SEGMENTS)
    assert str(caught.value) == (
        "120 masks of 2000 x 1500 pixels are too many for one file in this format. "
        "Save them as COCO, or save fewer at once."
    )
    assert save(service, session, "coco", SEGMENTS).content
    assert save(service, session, "labelme", b'{"run": 0, "selected": [1, 2]}').content


@pytest.mark.weights
def test_saves_at_the_same_time_wait_for_each_other(photo: Callable[[str], Path]) -> None:
    buffer = io.BytesIO()
    Image.open(photo("chelsea.png")).resize((3000, 2000)).save(buffer, "JPEG")
    with serving("--concurrency", "1") as server:
        status = Path(f"/proc/{server.process.pid}/status")
        if not status.exists():
            pytest.skip("needs /proc")
        client = Client(server.url)
        client.hello()
        client.open(buffer.getvalue())
        body = {"objects": [client.freeze(1147, 713)]}
        headers = {"X-Session": client.token}
        saved: list[int] = []

        def work(method: str, path: str, **options: Any) -> None:
            response = client.request(method, path, headers=headers, **options)
            saved.append(response.status_code)

        def megabytes(name: str) -> int:
            (line,) = [line for line in status.read_text().splitlines() if line.startswith(name)]
            return int(line.split()[1]) // 1000

        (status.parent / "clear_refs").write_text("5")  # the highest use of memory is counted anew
        before = megabytes("VmRSS")
        calls = [("POST", "/service/save/cutout", {"json": body}), ("GET", "/service/preview", {})] * 3
        threads = [threading.Thread(target=work, args=call[:2], kwargs=call[2]) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert saved == [200] * 6
        assert megabytes("VmHWM") - before < 110
