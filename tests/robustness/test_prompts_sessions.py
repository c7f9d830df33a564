"""Requests about prompts: no mask of another image, and a chosen mask that is refined."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mobilesam.prompts.file import PromptFile, dump, parse_prompts
from mobilesam.prompts.object_prompt import MAX_STEPS

pytest.importorskip("gradio", reason="Gradio is not installed: run make test")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from mobilesam.model import Capabilities, Wrapped
from mobilesam.serve.bodies import Bodies, BodyStore, Rules
from mobilesam.serve.engine import Limits
from mobilesam.serve.guard import Guard, Hosts
from mobilesam.serve.models import Choice, Models
from mobilesam.serve.values import OpenImage
from mobilesam.serve.workers import BusyError, Workers
from mobilesam.webui import session as states
from mobilesam.webui.decoders import Decoders
from mobilesam.webui.everything import Everything
from mobilesam.webui.page import hello_function
from mobilesam.webui.routes import add_routes
from mobilesam.webui.service import Service
from mobilesam.webui.session import Session
from mobilesam.webui.session_store import MAX_COPIES, SessionExpiredError, SessionStore
from mobilesam.webui.uploads import UploadFolder
from tests.robustness.server_client import page_prompt
from tests.robustness.test_prompts_steps import MIXED

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in pycocotools
]

EYE, INSIDE, WALL = (172, 107), (183, 107), (430, 40)


class Plain(Wrapped):
    """The same model, as one that cannot feed masks back."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(self._model.capabilities, mask_input=False)


@pytest.fixture(scope="module")
def service(onnx_sam: Any) -> Iterator[Service]:
    models = {"onnx": Choice("ONNX", lambda: onnx_sam), "plain": Choice("Plain", lambda: Plain(onnx_sam))}
    running = Service(Models(models), Limits())
    yield running
    running.close()


@pytest.fixture(scope="module")
def everything(service: Service) -> Everything:
    return Everything(service)


@pytest.fixture(scope="module")
def hello(service: Service) -> Any:
    """What the page's script calls first."""
    return hello_function(service, Decoders(service.models))


@pytest.fixture(scope="module")
def client(service: Service, everything: Everything) -> Iterator[TestClient]:
    """A client of the page's routes, behind the same checks as in the server."""
    folder = UploadFolder(1_000_000)
    store = BodyStore(Rules(service.limits.max_upload_mb))
    app = FastAPI()
    app.add_middleware(Bodies, store=store)
    app.add_middleware(Guard, hosts=Hosts.of("127.0.0.1"))
    add_routes(app, service, everything, Decoders(service.models), store, folder)
    yield TestClient(app, base_url="http://127.0.0.1")
    folder.close()


@pytest.fixture(scope="module")
def cup(photo: Any) -> bytes:
    return bytes(photo("coffee.png").read_bytes())


@pytest.fixture
def token(service: Service, photo: Any) -> str:
    """A session with the photo of the cat."""
    token = service.new_session()
    open_image(service, token, photo("chelsea.png").read_bytes())
    return token


def open_image(service: Service, token: str, content: bytes, name: str = "image.png") -> Session:
    return service.open(token, content, name, lambda _: None).result().session


def prompt_of(*places: tuple[int, int], **rest: Any) -> dict[str, Any]:
    """Return a prompt of points on the object in the form that the page sends."""
    return {"points": [[*place, 1] for place in places]} | rest


def key_of(service: Service, token: str) -> str:
    return states.open_image(service.session(token)).key


class Requests:
    """The page's requests about the open image of a session; with the mask of each prompt."""

    def __init__(self, client: TestClient, service: Service, token: str) -> None:
        self._client = client
        self.headers = {"X-Session": token, "X-Image": key_of(service, token)}

    def post(self, path: str, **body: Any) -> Any:
        return self._client.post(f"/service/{path}", headers=self.headers, json=body)

    def predict(self, prompt: Any, **options: Any) -> dict[str, Any]:
        response = self.post("predict", prompt=prompt, **options)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def freeze(self, prompt: Any, **options: Any) -> dict[str, Any]:
        response = self.post("freeze", prompt=prompt, **options)
        assert response.status_code == 200, response.text
        (frozen,) = response.json()["objects"]
        return dict(frozen)

    def mask(self, prompt: Any, **options: Any) -> Any:
        return coco_mask.decode(self.freeze(prompt, **options)["segmentation"]).astype(bool)


@pytest.fixture
def requests(client: TestClient, service: Service, token: str) -> Requests:
    return Requests(client, service, token)


def iou(one: Any, other: Any) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def test_a_request_about_another_image_is_refused(
    service: Service, client: TestClient, requests: Requests, token: str, cup: bytes
) -> None:
    cat = dict(requests.headers)
    open_image(service, token, cup)  # by a tab or a script that has the same token
    before = service.session(token)
    body = {"mode": "fast", "prompt": prompt_of(WALL), "objects": []}
    responses = [
        client.get(f"/service/{path}", headers=cat) for path in ("preview", "crop?x=0&y=0&width=9&height=9&side=9")
    ]
    for path in ("predict", "freeze", "save/mask", "save/prompts", "everything", "model/onnx"):
        responses.append(client.post(f"/service/{path}", headers=cat, json=body))
    assert {response.status_code for response in responses} == {410}
    for response in responses:
        assert response.json() == {
            "error": "Another image was opened in this session. Open this image again to continue.",
            "expired": True,
        }
    assert service.session(token) == before
    current = Requests(client, service, token)
    assert current.predict(prompt_of(WALL))["masks"]
    assert client.get("/service/preview", headers=current.headers).status_code == 200
    with pytest.raises(SessionExpiredError):
        service.session(token, "")


@pytest.mark.parametrize("token", ["", "guess"])
def test_a_request_without_a_session_is_refused(client: TestClient, token: str) -> None:
    for path in ("predict", "freeze", "save/mask", "everything", "model/onnx", "image"):
        response = client.post(f"/service/{path}", headers={"X-Session": token}, json={"mode": "fast"})
        assert (path, response.status_code, response.json()["expired"]) == (path, 410, True)
    for path in ("preview", "crop?x=0&y=0&width=9&height=9&side=9"):
        assert client.get(f"/service/{path}", headers={"X-Session": token}).status_code == 410


def test_a_request_before_an_image_is_refused(service: Service, client: TestClient) -> None:
    headers = {"X-Session": service.new_session()}
    for path in ("predict", "freeze", "save/mask", "everything"):
        response = client.post(f"/service/{path}", headers=headers, json={"mode": "fast", "prompt": prompt_of(EYE)})
        assert (path, response.status_code) == (path, 400)
        assert response.json() == {"error": "No image is open. Open one first.", "expired": False}


def test_an_image_that_another_overtakes_is_not_shown_as_the_other(
    service: Service, client: TestClient, token: str, cup: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream of an upload ends with the state of its own image, or an error."""
    model = service.models.get("onnx")
    encode = type(model).encode

    def overtaken(self: Any, image: Any, **options: Any) -> Any:
        monkeypatch.undo()
        service.sessions.change(token, lambda state: states.opened(state, replace(state.image, digest="other" * 4)))
        return encode(self, image, **options)

    monkeypatch.setattr(type(model), "encode", overtaken)
    service.embeddings = type(service.embeddings)(service.embeddings.limit)
    response = client.post("/service/image", headers={"X-Session": token}, content=cup)
    *_, last = response.text.splitlines()
    assert '"expired":true' in last
    assert "Another image was opened" in last


def test_a_page_that_enters_has_a_token_of_its_own(service: Service, hello: Any, token: str, cup: bytes) -> None:
    first, second = (hello({"token": token}) for _ in range(2))
    assert len({token, first["token"], second["token"]}) == 3
    assert first["image"] == second["image"] == hello({"token": token})["image"]
    assert first["image"]["key"] == key_of(service, token)
    open_image(service, first["token"], cup)
    assert key_of(service, second["token"]) == key_of(service, token) != key_of(service, first["token"])
    assert hello({"token": "guess"})["image"] is None


@pytest.mark.parametrize(
    "call", [None, [], "x", {"token": 5}, {"token": {"a": []}}, {"model": ["onnx"]}, {"model": "no"}]
)
def test_any_call_gets_a_session(call: Any, hello: Any) -> None:
    greeting = hello(call)
    assert (greeting["model"], greeting["image"], len(greeting["token"]) >= 20) == ("onnx", None, True)
    assert set(greeting) == {*("token", "models", "modes", "max_upload_mb", "samples", "decoders", "model", "image")}


def test_segments_are_saved_from_the_run_that_found_them(
    service: Service, everything: Everything, client: TestClient, token: str
) -> None:
    """A run that ends late does not replace a later one, and cannot be saved as that one."""
    begun, ended = threading.Event(), threading.Event()

    def hold(*_: int) -> None:
        begun.set()
        assert ended.wait(60)

    late = everything.start(token, "fast", hold)
    assert begun.wait(60)
    later = everything.start(token, "fast", lambda *_: None).result().session
    ended.set()
    earlier = late.result().session
    assert earlier.run < later.run == service.session(token).run
    assert service.session(token).segments == later.segments
    requests = Requests(client, service, token)
    for path, name in (("save/mask", "selected"), ("freeze", "segments")):
        assert requests.post(path, run=later.run, **{name: [0]}).status_code == 200
        refused = requests.post(path, run=earlier.run, **{name: [0]})
        assert refused.status_code == 400
        message = f"run must be the last one, {later.run}, got {earlier.run}; segment again"
        assert refused.json()["error"] == message


@pytest.mark.parametrize("indices", ["all", [-1], [True], [0.0], [None], [0, 0], [10**9], {"0": 1}, [[0]]])
def test_segments_are_named_by_their_indices(
    indices: Any, everything: Everything, requests: Requests, token: str
) -> None:
    run = everything.start(token, "fast", lambda *_: None).result().session.run
    for path, name in (("save/mask", "selected"), ("freeze", "segments")):
        refused = requests.post(path, run=run, **{name: indices})
        assert (refused.status_code, f"{name} must be a list of indices below" in refused.json()["error"]) == (
            400,
            True,
        )


def test_frozen_segments_come_in_the_order_of_the_request(
    everything: Everything, requests: Requests, token: str
) -> None:
    session = everything.start(token, "fast", lambda *_: None).result().session
    frozen = requests.post("freeze", run=session.run, segments=[3, 0, 1]).json()["objects"]
    for each, index in zip(frozen, (3, 0, 1), strict=True):
        assert each["area"] == session.segments[index]["area"] == coco_mask.area(each["segmentation"])
    assert requests.post("freeze", run=session.run, segments=[]).json() == {"objects": []}


def test_a_chosen_mask_is_refined_by_more_points(service: Service, requests: Requests) -> None:
    chosen = requests.mask(prompt_of(EYE, chosen=2))
    steps = [prompt_of(EYE, chosen=2)]
    refined = requests.predict(prompt_of(EYE, INSIDE, steps=steps))
    assert (len(refined["masks"]), refined["best"], refined["refined"]) == (1, 0, True)
    mask = requests.mask(prompt_of(EYE, INSIDE, steps=steps))
    assert iou(mask, chosen) > 0.95
    assert iou(mask, requests.mask(prompt_of(EYE, INSIDE))) < 0.95, "without the step it is another mask"

    service.feedback = type(service.feedback)(service.feedback.limit)  # the logits are computed from the steps again
    assert np.array_equal(requests.mask(prompt_of(EYE, INSIDE, steps=steps)), mask)
    assert service.feedback.used > 0


@pytest.mark.parametrize("chosen", [0, 1, 2, 3])
def test_a_chosen_mask_is_offered_beside_the_suggested_one(chosen: int, requests: Requests) -> None:
    without = requests.predict(prompt_of(EYE))
    masks = {mask["index"]: mask for mask in without["masks"]}
    offered = requests.predict(prompt_of(EYE, chosen=chosen))
    assert len(offered["masks"]) == len(without["masks"]) == 3
    (position,) = [place for place, mask in enumerate(offered["masks"]) if mask["index"] == chosen]
    suggested = without["masks"][without["best"]]
    assert offered["masks"][offered["best"]] == suggested, "a choice does not change the suggestion"
    for mask in offered["masks"]:
        assert mask == masks.get(mask["index"], mask), "the same masks as without a choice"
    assert requests.freeze(prompt_of(EYE, chosen=chosen))["rle"] == offered["masks"][position]["rle"]


def test_the_preselected_mask_is_that_of_predict_one(requests: Requests, photo: Any, onnx_sam: Any) -> None:
    from mobilesam import SamPredictor

    predictor = SamPredictor(onnx_sam)
    predictor.set_image(photo("chelsea.png"))
    for places in ((EYE,), (WALL,), (EYE, INSIDE)):
        expected = predictor.predict_one(list(places), [1] * len(places)).masks[0]
        assert np.array_equal(requests.mask(prompt_of(*places)), expected)
        best = requests.predict(prompt_of(*places))
        assert best["masks"][best["best"]]["rle"] == requests.freeze(prompt_of(*places))["rle"]


def test_the_steps_of_a_prompt_and_their_logits_are_bounded(service: Service, requests: Requests) -> None:
    steps = [prompt_of((100 + turn, 100), chosen=1) for turn in range(MAX_STEPS - 1)]
    assert requests.predict(prompt_of(EYE, steps=steps))["refined"]
    refused = requests.post("predict", prompt=prompt_of(EYE, steps=[*steps, steps[0]]))
    assert f"steps must be a list of at most {MAX_STEPS - 1}, got {MAX_STEPS}" in refused.json()["error"]
    assert 0 < service.feedback.used <= service.feedback.limit < 20_000_000


def test_a_model_follows_the_steps_or_says_that_it_cannot(
    service: Service, client: TestClient, requests: Requests, token: str
) -> None:
    refined = prompt_of(EYE, INSIDE, steps=[prompt_of(EYE, chosen=2)])
    mask, alone = requests.mask(refined), requests.mask(prompt_of(EYE, INSIDE))
    service.switch(token, "plain").result()
    switched = Requests(client, service, token)
    assert switched.predict(refined)["refined"] is False
    assert np.array_equal(switched.mask(refined), alone), "the points alone"
    assert switched.predict(prompt_of(EYE, chosen=3))["refined"] is True, "a choice needs no feedback"
    service.switch(token, "onnx").result()
    assert requests.predict(refined)["refined"] is True
    assert np.array_equal(requests.mask(refined), mask)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 5}, f"steps must be a list of at most {MAX_STEPS - 1}, got int"),
        ({"steps": [{}] * MAX_STEPS}, f"steps must be a list of at most {MAX_STEPS - 1}, got {MAX_STEPS}"),
        ({"steps": [5]}, "each step must be an object, got int"),
        ({"steps": [{"points": [[1, 1, 1]]}]}, "chosen must be 0, 1, 2 or 3, got null"),
        ({"steps": [{"points": [[1, 1, 1]], "chosen": 9}]}, "chosen must be 0, 1, 2 or 3, got 9"),
        ({"steps": [{"points": [[1, 1, 0]], "chosen": 1}]}, "the first step must have a foreground point or a box"),
        ({"points": [[1, 1, 1]], "chosen": True}, "chosen must be 0, 1, 2 or 3, got true"),
    ],
)
def test_prompts_of_another_form_are_refused(wrong: dict[str, Any], message: str, requests: Requests) -> None:
    prompt = {"points": [[1, 1, 1], [2, 2, 1]]} | wrong
    for path in ("predict", "freeze"):
        refused = requests.post(path, prompt=prompt)
        assert (refused.status_code, message in refused.json()["error"]) == (400, True), refused.text
    frozen = requests.freeze(prompt_of(EYE))
    refused = requests.post("save/prompts", objects=[frozen | {"prompt": prompt}])
    assert (refused.status_code, message in refused.json()["error"]) == (400, True), refused.text


def test_background_alone_is_no_prompt(requests: Requests) -> None:
    background = {"points": [[*WALL, 0]]}
    message = "must have a foreground point or a box, got background points alone"
    for path in ("predict", "freeze"):
        refused = requests.post(path, prompt=background)
        assert (refused.status_code, f"a prompt {message}" in refused.json()["error"]) == (400, True)
    frozen = requests.freeze(prompt_of(EYE))
    refused = requests.post("save/prompts", objects=[frozen | {"prompt": background}])
    assert (refused.status_code, f"objects[0].prompt {message}" in refused.json()["error"]) == (400, True)
    assert requests.predict({"points": [[*WALL, 0], [*EYE, 1]]})["masks"]


def test_the_page_saves_the_masks_that_the_commands_give(
    requests: Requests, command: Any, photo: Any, tmp_path: Path
) -> None:
    from mobilesam.formats.png import read_mask

    prompts = PromptFile({"chelsea.png": tuple(MIXED)})
    (tmp_path / "p.json").write_text(dump(prompts))
    options = ("--prompts", tmp_path / "p.json", "--format", "mask", "--backend", "onnx", "--out", tmp_path)
    outcome = command("predict", photo("chelsea.png"), *options)
    assert outcome.code == 0, outcome.err
    objects = []
    for index, prompt in enumerate(MIXED, start=1):
        sent = page_prompt(prompt)
        objects.append(requests.freeze(sent) | {"prompt": sent, "label": prompt.label})
        page, given = tmp_path / f"page-{index}.png", tmp_path / f"chelsea-mask{'' if index == 1 else f'-{index}'}.png"
        page.write_bytes(requests.post("save/mask", objects=objects[-1:]).content)
        np.testing.assert_array_equal(read_mask(page), read_mask(given))
    saved = parse_prompts(requests.post("save/prompts", objects=objects).content.decode()).for_image("image.png")
    assert saved == [replace(prompt, label=prompt.label) for prompt in MIXED]


class Held:
    """Workers whose queue is full for the length of a block."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, service: Service, name: str) -> None:
        self._workers, self._end = Workers(1, 0, "held"), threading.Event()
        monkeypatch.setattr(service, name, self._workers)

    def __enter__(self) -> None:
        begun = threading.Event()

        def work() -> None:
            begun.set()
            assert self._end.wait(60)

        self._workers.submit(work)
        assert begun.wait(60)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._workers.close()


def test_a_mask_under_the_mouse_does_not_wait_and_a_click_is_refused_when_the_queue_is_full(
    service: Service, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, Held(patch, service, "decoders"):
        refused = requests.post("predict", prompt=prompt_of(EYE))
        assert refused.status_code == 429
        assert refused.json()["error"] == "The server is busy: 0 requests are waiting. Try again in a moment."
    busy = Workers(1, 9, "busy")
    end = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(service, "decoders", busy)
        for _ in range(2):
            busy.submit(lambda: end.wait(60))
        assert requests.predict(prompt_of(EYE), hover=True)["masks"] == []
        end.set()
        busy.close()
    assert len(requests.predict(prompt_of(EYE), hover=True)["masks"]) == 3


def test_copies_of_one_session_do_not_displace_others(
    service: Service, hello: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "sessions", SessionStore(limit=20))
    image = OpenImage("digest" * 4, (4, 4), "image.png")
    service.images.put(image.digest, np.zeros((4, 4, 3), np.uint8), 48)
    others = [service.sessions.create(Session("onnx", image)) for _ in range(10)]
    first = current = service.sessions.create(Session("onnx", image, segments=({"area": 1},), run=3))  # type: ignore[arg-type]
    for _ in range(40):
        current = hello({"token": current})["token"]
    assert len(service.sessions) == 10 + MAX_COPIES
    assert all(service.session(other).image == image for other in others)
    assert (service.session(current).segments, service.session(current).run) == ((), 0)
    with pytest.raises(SessionExpiredError):
        service.session(first)


def test_a_run_that_is_refused_does_not_end_the_one_before(
    service: Service, everything: Everything, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def hold(*_: int) -> None:
        begun.set()
        assert ended.wait(60)

    running = everything.start(token, "fast", hold)
    assert begun.wait(60)
    with monkeypatch.context() as patch, Held(patch, service, "encoders"), pytest.raises(BusyError):
        everything.start(token, "fast", lambda *_: None)
    ended.set()
    assert not running.result().partial
    assert everything._runs == {}


def test_a_run_that_fails_leaves_no_entry(
    service: Service, everything: Everything, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        everything.start(token, "fast", fail).result()
    assert everything._runs == {}

    submit = service.encoders.submit

    def finished(work: Any, client: str) -> Any:
        """Return a job that has failed before its callback is added."""
        job = submit(work, client)
        job.future.exception(60)
        return job

    with monkeypatch.context() as patch:
        patch.setattr(service.encoders, "submit", finished)
        with pytest.raises(ValueError, match="no"):
            everything.start(token, "fast", fail).result()
    assert everything._runs == {}

    def refused(*_: Any) -> Any:
        raise BusyError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(service.encoders, "submit", refused)
        with pytest.raises(BusyError):
            everything.start(token, "fast", lambda *_: None)
    assert everything._runs == {}


def test_a_reader_who_leaves_ends_its_own_run_only(service: Service, everything: Everything, token: str) -> None:
    begun, ended = threading.Event(), threading.Event()

    def hold(*_: int) -> None:
        begun.set()
        assert ended.wait(60)

    earlier = everything.start(token, "fast", lambda *_: None)
    earlier.result()
    later = everything.start(token, "fast", hold)
    assert begun.wait(60)
    everything.cancel(token, earlier)
    ended.set()
    assert not later.result().partial


def test_a_preview_does_not_wait_for_files_that_others_save(
    service: Service, client: TestClient, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"X-Session": token, "X-Image": key_of(service, token)}
    with Held(monkeypatch, service, "savers"):
        assert client.get("/service/preview", headers=headers).status_code == 200
        crop = "/service/crop?x=0&y=0&width=9&height=9&side=9"
        assert client.get(crop, headers=headers).status_code == 200


def test_all_that_is_kept_is_part_of_the_memory_that_was_given(onnx_sam: Any) -> None:
    small = Service(Models({"onnx": Choice("ONNX", lambda: onnx_sam)}), Limits(cache_mb=10))
    try:
        caches = (small.images, small.embeddings, small.feedback)
        assert sum(cache.limit for cache in caches) + small.sessions.limit_bytes == 10_000_000
    finally:
        small.close()
