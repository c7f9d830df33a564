"""The named endpoints, called as scripts call them, and the requests that they refuse."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests import photos
from tests.robustness.server_client import serving

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in pycocotools
]

EYE = (172, 107)


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    return connect(server.url)


def connect(url: str, **options: Any) -> Any:
    gradio_client = pytest.importorskip("gradio_client")
    return gradio_client.Client(url, verbose=False, **options)


@pytest.fixture(scope="module")
def session(client: Any, cat: Path) -> str:
    return str(encode(client, cat)["session"])


def encode(client: Any, path: Path) -> dict[str, Any]:
    from gradio_client import handle_file

    return dict(client.predict(handle_file(path), None, api_name="/encode"))


def pixels(mask: dict[str, Any]) -> np.ndarray:
    decoded: np.ndarray = coco_mask.decode(mask["segmentation"]).astype(bool)
    return decoded


def get(url: str, **options: Any) -> Any:
    import httpx

    return httpx.request(options.pop("method", "GET"), url, timeout=120, **options)


def test_encode_once_predict_often(client: Any, cat: Path, expected: Any) -> None:
    opened = encode(client, cat)
    assert (opened["width"], opened["height"], opened["model"]) == (451, 300, "onnx")
    assert (opened["version"], opened["encode_ms"] > 0) == (2, True)
    image, token = photos.photo("chelsea"), opened["session"]
    three = client.predict(token, [[*EYE, 1]], None, api_name="/predict")["masks"]
    assert len(three) == 3
    assert np.array_equal(pixels(three[0]), expected(image, [(*EYE, 1)]))
    assert three[1]["predicted_iou"] >= three[2]["predicted_iou"]
    points = [[*EYE, 1], [300, 150, 0]]
    (one,) = client.predict(token, points, [40, 10, 420, 290], api_name="/predict")["masks"]
    assert np.array_equal(pixels(one), expected(image, points, [40, 10, 420, 290]))
    assert one["area"] == pixels(one).sum()
    y, x = np.nonzero(pixels(one))
    assert one["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1], "COCO's, not SAM's"


def test_everything_reports_its_progress_and_is_saved(client: Any, session: str, server: Any) -> None:
    job, progress = client.submit(session, "fast", api_name="/everything"), []
    while not job.done():
        progress += job.status().progress_data or []
        time.sleep(0.05)
    assert {unit.unit for unit in progress} == {"points"}
    lengths = [unit.length for unit in progress]
    assert lengths == sorted(lengths, reverse=True), "points that need no decoding are taken off"
    assert progress[0].index < progress[-1].index <= progress[0].length
    result = job.result()
    assert result["partial"] is False
    assert len(result["masks"]) > 5
    assert all(pixels(mask).sum() == mask["area"] for mask in result["masks"])

    def save(selected: Any) -> Any:
        request = {"run": 1, "selected": selected}
        return get(
            f"{server.url}/service/save/coco", method="POST", json=request, headers={"X-Session": session}
        ).json()

    first, last = save([len(result["masks"]) - 1, 0])["annotations"]
    assert [first["area"], last["area"]] == [result["masks"][0]["area"], result["masks"][-1]["area"]]
    assert "selected must be a list of indices below" in save([len(result["masks"])])["error"]
    assert "selected must be a list of indices below" in save("all")["error"]


@pytest.mark.parametrize(
    ("points", "box", "message"),
    [
        (None, None, "a prompt must have points or a box, got neither"),
        ([], None, "a prompt must have points or a box, got neither"),
        ([[1, 2]], None, r"each point must be [x, y, label], got [1, 2]"),
        ([1, 2, 1], None, "each point must be [x, y, label], got 1"),
        ({"x": 1}, None, "points must be a list, got dict"),
        ([[1, 2, 7]], None, "label must be 1 or 0, got 7"),
        ([["1", 2, 1]], None, "a point must have numbers x and y, got '1', 2"),
        ([[451, 2, 1]], None, "a point must lie in the image, 451 x 300, got 451, 2"),
        ([[1, 1, 1]] * 257, None, "points must be at most 256, got 257"),
        (None, [1, 2, 3], "box must be [x1, y1, x2, y2], got [1, 2, 3]"),
        (None, [[1, 2, 3, 4]], "box must be [x1, y1, x2, y2], got [[1, 2, 3, 4]]"),
        (None, [5, 5, 5, 9], "box must have an area, got [5, 5, 5, 9]"),
        (None, "all of it", "box must be [x1, y1, x2, y2], got 'all of it'"),
    ],
)
def test_prompts_of_another_shape_are_refused(
    points: Any, box: Any, message: str, client: Any, session: str, server: Any
) -> None:
    with pytest.raises(Exception, match="must") as refused:
        client.predict(session, points, box, api_name="/predict")
    assert message in str(refused.value)
    assert "Traceback" not in "".join(server.log)


def test_other_arguments_are_checked_too(client: Any, session: str, tmp_path: Path) -> None:
    def refused(*arguments: Any, api_name: str) -> str:
        with pytest.raises(Exception, match=r"must|expired|is not an image") as error:
            client.predict(*arguments, api_name=api_name)
        return str(error.value)

    from gradio_client import handle_file

    (tmp_path / "notes.jpg").write_text("no image")
    assert "mode must be one of" in refused(session, "slow", api_name="/everything")
    assert "The session expired. Open the image again." in refused("guess", [[1, 1, 1]], None, api_name="/predict")
    assert "image is not an image. Open a JPEG" in refused(
        handle_file(tmp_path / "notes.jpg"), None, api_name="/encode"
    )
    assert "image must be a file, got none" in refused(None, None, api_name="/encode")
    shutil.copy(tmp_path / "notes.jpg", tmp_path / "other.jpg")
    assert "model must be one of" in refused(handle_file(tmp_path / "other.jpg"), "big", api_name="/encode")


def test_arguments_with_a_default_may_be_left_out(client: Any, cat: Path) -> None:
    from gradio_client import handle_file

    opened = client.predict(handle_file(cat), api_name="/encode")
    assert len(client.predict(opened["session"], [[*EYE, 1]], api_name="/predict")["masks"]) == 3


def test_the_page_has_an_icon_and_no_link_to_what_is_refused(server: Any) -> None:
    icon = get(f"{server.url}/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
    config = get(f"{server.url}/config").json()
    assert config["footer_links"] == []


def test_files_of_the_server_are_out_of_reach(server: Any, session: str, cat: Path, tmp_path: Path) -> None:
    private = tmp_path / "private.png"
    shutil.copy(cat, private)
    for path in (str(private), "/etc/passwd", "../../../../etc/passwd", "http://127.0.0.1:1/cat.png"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for name, data in (("encode", [file, None]), ("predict", [session, [file], None])):
            begun = get(f"{server.url}/gradio_api/call/{name}", method="POST", json={"data": data})
            response = get(f"{server.url}/gradio_api/call/{name}/{begun.json()['event_id']}").text
            assert "event: error" in response
            assert "a file must be uploaded, got" in response
        assert get(f"{server.url}/gradio_api/file={path}").status_code in (403, 404)
    for path in ("..%2fpage.py", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd"):
        assert get(f"{server.url}/service/static/{path}").status_code == 404
    assert "Traceback" not in "".join(server.log)


def test_routes_need_a_session_and_have_limits(server: Any, session: str) -> None:
    def post(path: str, **options: Any) -> tuple[int, str]:
        headers = {"X-Session": session} | options.pop("headers", {})
        response = get(f"{server.url}/service/{path}", method="POST", headers=headers, **options)
        return response.status_code, response.json().get("error", "")

    code, error = post("image", headers={"X-Session": "guess"}, content=b"x")
    assert (code, error) == (410, "The session expired. Open the image again.")
    code, error = post("image", content=bytes(40_000_000))
    assert (code, error.startswith("the file must have at most 30 MB, got 40.0 MB")) == (413, True)
    code, error = post("image", content=(bytes(1_000_000) for _ in range(40)))
    assert (code, error.startswith("the file must have at most 30 MB, got more")) == (413, True)
    assert post("save/mask", content=b"{")[0] == 400
    assert post("save/mask", content=b"[1]") == (
        400,
        "the request body must be a JSON object, got list; put it into braces",
    )
    assert "must have at most 16000000 bytes" in post("save/mask", content=bytes(16_000_001))[1]
    assert "must have at most 1000000 bytes" in post("predict", content=bytes(1_000_001))[1]
    assert "kind must be one of" in post("save/exe", json={})[1]
    assert "There is no mask to save. Click the object first." in post("save/mask", json={})[1]
    assert "objects must be a list of at most 5000, got dict" in post("save/mask", json={"objects": {}})[1]
    assert "mode must be one of" in post("everything", json={"mode": ["fast"]})[1]
    assert "model must be one of" in post("model/big")[1]


def test_health_reports_the_state_of_the_server(server: Any) -> None:
    response = get(f"{server.url}/health")
    health = response.json()
    assert response.status_code == 200
    assert health["status"] == "ok"
    assert health["models"] == ["onnx"]
    assert health["encoding"] == 0
    assert health["sessions"] >= 0
    assert health["cached_mb"] >= 0


def test_a_login_guards_everything_but_the_health(cat: Path) -> None:
    with serving("--auth", "ann:secret") as server:
        assert get(f"{server.url}/health").status_code == 200
        assert get(f"{server.url}/config").status_code == 401
        body = {"data": [None, None]}
        assert get(f"{server.url}/gradio_api/call/encode", method="POST", json=body).status_code == 401
        call = {"fn_name": "hello", "component_id": 1, "session_hash": "x", "data": [{}]}
        assert get(f"{server.url}/gradio_api/component_server", method="POST", json=call).status_code == 401
        assert get(f"{server.url}/service/image", method="POST", content=cat.read_bytes()).status_code == 410
        client = connect(server.url, auth=("ann", "secret"))
        assert client.predict(encode(client, cat)["session"], [[*EYE, 1]], None, api_name="/predict")["masks"]
        assert server.stop() == 0
        assert "secret" not in "".join(server.log)


def test_the_server_stops_while_a_script_waits_for_a_run(cat: Path) -> None:
    with serving() as server:
        client = connect(server.url)
        token = encode(client, cat)["session"]
        job = client.submit(token, "exact", api_name="/everything")
        while not (job.status().progress_data or job.done()):
            time.sleep(0.1)
        assert not job.done()
        assert server.stop() == 0
        assert "Traceback" not in "".join(server.log)
