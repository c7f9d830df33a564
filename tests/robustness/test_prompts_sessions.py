"""Sessions on the server: no mask of another image, and a chosen mask that stays chosen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.prompts.file import PromptFile, dump, parse_prompts
from mobilesam.prompts.object_prompt import MAX_STEPS, ObjectPrompt

pytest.importorskip("gradio", reason="Gradio is not installed: run make test")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from mobilesam.model import Capabilities, Wrapped
from mobilesam.webui import session as states
from mobilesam.webui.bodies import Bodies, BodyStore
from mobilesam.webui.everything import Everything
from mobilesam.webui.guard import Guard, Hosts
from mobilesam.webui.models import Choice, Models
from mobilesam.webui.page import server_functions
from mobilesam.webui.routes import add_routes
from mobilesam.webui.saving import chosen_record, save
from mobilesam.webui.service import Limits, Service
from mobilesam.webui.session import Session, ShownImage
from mobilesam.webui.session_store import MAX_COPIES, SessionExpiredError, SessionStore
from mobilesam.webui.uploads import UploadFolder
from mobilesam.webui.view import prompt_view
from mobilesam.webui.workers import BusyError, Workers
from tests.robustness.test_prompts_steps import MIXED

pytestmark = pytest.mark.weights

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
def page(service: Service, everything: Everything) -> dict[str, Any]:
    """What the page's script calls."""
    return {function.__name__: function for function in server_functions(service, everything)}


@pytest.fixture(scope="module")
def client(service: Service, everything: Everything) -> Iterator[TestClient]:
    """A client of the page's routes, behind the same checks as in the server."""
    folder = UploadFolder(1_000_000)
    store = BodyStore(service.limits.max_upload_mb, folder)
    app = FastAPI()
    app.add_middleware(Bodies, store=store)
    app.add_middleware(Guard, hosts=Hosts.of("127.0.0.1"))
    add_routes(app, service, everything, store)
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


def point(place: tuple[int, int], label: int = 1) -> dict[str, Any]:
    return {"do": "point", "x": place[0], "y": place[1], "label": label}


def key_of(service: Service, token: str) -> str:
    return states.open_image(service.session(token)).key


def mask_of(service: Service, session: Session) -> Any:
    from mobilesam.masks import rle

    return rle.rle_to_mask(chosen_record(session, service.models.get(session.model))["segmentation"])


def iou(one: Any, other: Any) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def choose(service: Service, token: str, index: int) -> Session:
    """Choose by the decoder's own index."""
    candidates = service.session(token).candidates
    assert candidates is not None
    return service.act(token, [{"do": "choose", "index": candidates.masks.indices.index(index)}])


def test_a_request_about_another_image_is_refused(
    service: Service, page: dict[str, Any], client: TestClient, token: str, cup: bytes
) -> None:
    service.act(token, [point(EYE)])
    cat = key_of(service, token)
    open_image(service, token, cup)  # by a tab or a script that has the same token
    before = service.session(token)

    calls = [page["act"]({"token": token, "actions": [point(WALL)], "image": cat})]
    calls += [page["hover"]({"token": token, "x": 5, "y": 5, "image": cat})]
    headers = {"X-Session": token, "X-Image": cat}
    responses = [client.get("/service/preview", headers=headers)]
    for path in ("save/mask", "save/prompts", "everything", "model/onnx"):
        responses.append(client.post(f"/service/{path}", headers=headers, json={"mode": "fast"}))
    assert {response.status_code for response in responses} == {410}
    for refused in [*calls, *(response.json() for response in responses)]:
        assert refused == {
            "error": "Another image was opened in this session. Open this image again to continue.",
            "expired": True,
        }
    assert service.session(token) == before, "nothing was applied to the other image"

    current = key_of(service, token)
    assert page["act"]({"token": token, "actions": [point(WALL)], "image": current})["session"]["masks"]
    assert client.get("/service/preview", headers=headers | {"X-Image": current}).status_code == 200
    with pytest.raises(SessionExpiredError):
        service.session(token, "")


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


def test_a_page_that_enters_has_a_token_of_its_own(service: Service, page: dict[str, Any], token: str) -> None:
    service.act(token, [point(EYE)])
    first, second = (page["hello"]({"token": token}) for _ in range(2))
    assert len({token, first["token"], second["token"]}) == 3
    assert first["session"] == second["session"]
    assert len(first["session"]["masks"]) == 3
    page["act"]({"token": first["token"], "actions": [{"do": "clear"}], "image": key_of(service, token)})
    assert service.session(first["token"]).prompt == ObjectPrompt()
    assert service.session(second["token"]).prompt == service.session(token).prompt == ObjectPrompt((EYE,), (1,))
    assert service.act(first["token"], [{"do": "undo"}]).prompt == ObjectPrompt((EYE,), (1,)), "its history came along"
    assert page["hello"]({"token": "guess"})["session"]["image"] is None


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
    headers = {"X-Session": token, "X-Image": key_of(service, token)}

    def saved(run: Any) -> Any:
        request = {"source": "everything", "selected": [0], "run": run}
        return client.post("/service/save/mask", headers=headers, json=request)

    assert saved(later.run).status_code == 200
    assert saved(earlier.run).status_code == 400
    assert saved(earlier.run).json()["error"] == (
        f"run must be the last one, {later.run}, got {earlier.run}; segment everything again"
    )


def test_a_chosen_mask_stays_chosen_through_marks_undo_and_redo(service: Service, token: str) -> None:
    service.act(token, [point(EYE)])
    chosen = mask_of(service, choose(service, token, 2))
    refined = service.act(token, [point(INSIDE)])
    assert refined.prompt.steps == (ObjectPrompt((EYE,), (1,), chosen=2),)
    assert refined.prompt.chosen is None
    mask = mask_of(service, refined)
    assert iou(mask, chosen) > 0.95
    with_wall = service.act(token, [point(WALL, 0)])
    assert with_wall.prompt.steps == refined.prompt.steps, "a choice is fed back until another is made"
    assert iou(mask_of(service, with_wall), chosen) > 0.9

    service.feedback = type(service.feedback)(service.feedback.limit)  # the logits are computed from the steps again
    assert np.array_equal(mask_of(service, service.act(token, [{"do": "undo"}])), mask)
    undone = service.act(token, [{"do": "undo"}])
    assert (undone.prompt.chosen, undone.prompt.steps) == (2, ())
    assert np.array_equal(mask_of(service, undone), chosen)
    assert np.array_equal(mask_of(service, service.act(token, [{"do": "redo"}])), mask)
    redone = service.act(token, [{"do": "redo"}])
    assert np.array_equal(mask_of(service, redone), mask_of(service, with_wall))

    service.act(token, [{"do": "undo"}, {"do": "undo"}])
    other = choose(service, token, 3)
    assert other.future == (), "what was undone continued from another choice"
    assert service.act(token, [{"do": "clear"}, point(EYE)]).prompt == ObjectPrompt((EYE,), (1,))


def test_without_a_choice_the_prompt_is_the_list_of_points(service: Service, token: str) -> None:
    session = service.act(token, [point(EYE)])
    session = service.act(token, [point(INSIDE)])
    assert session.prompt == ObjectPrompt((EYE, INSIDE), (1, 1))


def test_a_choice_and_a_mark_in_one_bundle(service: Service, token: str) -> None:
    candidates = service.act(token, [point(EYE)]).candidates
    assert candidates is not None
    session = service.act(token, [{"do": "choose", "index": candidates.masks.indices.index(3)}, point(INSIDE)])
    assert session.prompt.steps == (ObjectPrompt((EYE,), (1,), chosen=3),)


def test_the_same_three_masks_are_offered_after_undo(service: Service, token: str) -> None:
    first = service.act(token, [point(EYE)]).candidates
    assert first is not None
    for index in first.masks.indices:
        choose(service, token, index)
        service.act(token, [point(INSIDE)])
        again = service.act(token, [{"do": "undo"}])
        assert again.candidates is not None
        assert again.candidates.masks.indices == first.masks.indices
        assert again.candidates.masks.indices[again.chosen] == index
        np.testing.assert_array_equal(again.candidates.masks.low_res_logits, first.masks.low_res_logits)


def test_choices_and_their_logits_are_bounded(service: Service, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 4
    monkeypatch.setattr(states, "MAX_STEPS", most)
    for turn in range(most):
        service.act(token, [point((100 + turn, 100))])
        candidates = service.session(token).candidates
        assert candidates is not None
        choose(service, token, candidates.masks.indices[0])
    before = service.session(token)
    with pytest.raises(InputError, match=f"chosen masks must be at most {most - 1}, got {most}; undo some"):
        service.act(token, [point((5, 5))])
    assert service.session(token) == before
    assert 0 < service.feedback.used <= service.feedback.limit < 20_000_000
    text = save(service, before, "prompts").content.decode()
    assert parse_prompts(text).for_image("image.png") == [before.prompt]


def test_a_model_switch_follows_the_steps_or_says_that_it_cannot(service: Service, token: str) -> None:
    service.act(token, [point(EYE)])
    choose(service, token, 2)
    refined = service.act(token, [point(INSIDE)])
    service.switch(token, "plain").result()
    switched = service.act(token, [])
    assert switched.prompt == ObjectPrompt((EYE, INSIDE), (1, 1)), "the points alone"
    assert switched.candidates is not None
    back = service.act(token, [{"do": "undo"}])
    assert back.prompt == ObjectPrompt((EYE,), (1,), chosen=2), "a choice without feedback is kept"
    service.act(token, [{"do": "redo"}])
    service.switch(token, "onnx").result()
    service.act(token, [{"do": "undo"}, {"do": "undo"}, {"do": "redo"}])
    again = service.act(token, [point(INSIDE)])
    assert again.prompt == refined.prompt
    assert np.array_equal(mask_of(service, again), mask_of(service, refined))


def test_a_restored_prompt_has_its_steps_and_another_image_none(service: Service, token: str, cup: bytes) -> None:
    service.act(token, [point(EYE)])
    choose(service, token, 2)
    refined = service.act(token, [point(INSIDE)])
    view = prompt_view(refined.prompt)
    restored = service.act(token, [{"do": "clear"}, {"do": "restore", **view}])
    assert restored.prompt == refined.prompt
    assert np.array_equal(mask_of(service, restored), mask_of(service, refined))
    assert open_image(service, token, cup).prompt == ObjectPrompt()


@pytest.mark.parametrize(
    ("restore", "message"),
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
def test_what_cannot_be_restored(restore: dict[str, Any], message: str, service: Service, token: str) -> None:
    with pytest.raises(InputError) as caught:
        service.act(token, [{"do": "restore", "points": [[1, 1, 1], [2, 2, 1]]} | restore])
    assert message in str(caught.value)
    assert service.session(token).prompt == ObjectPrompt()


def test_background_alone_waits_for_the_object(service: Service, client: TestClient, token: str) -> None:
    session = service.act(token, [point(WALL, 0)])
    assert (session.candidates, session.prompt) == (None, ObjectPrompt((WALL,), (0,)))
    headers = {"X-Session": token, "X-Image": key_of(service, token)}
    for kind, what in (("mask", "mask"), ("prompts", "prompt")):
        refused = client.post(f"/service/save/{kind}", headers=headers, json={})
        assert refused.status_code == 400
        assert refused.json()["error"] == f"There is no {what} to save. Click the object first."
    both = service.act(token, [point(EYE)])
    assert both.prompt == ObjectPrompt((WALL, EYE), (0, 1))
    assert both.candidates is not None
    with pytest.raises(InputError, match="a prompt must have a foreground point or a box, got background points alone"):
        service.decode(both, ObjectPrompt((WALL,), (0,)))


def test_the_page_saves_the_masks_that_the_commands_give(
    service: Service, token: str, command: Any, photo: Any, tmp_path: Path
) -> None:
    from mobilesam.formats.png import read_mask

    prompts = PromptFile({"chelsea.png": tuple(MIXED)})
    (tmp_path / "p.json").write_text(dump(prompts))
    options = ("--prompts", tmp_path / "p.json", "--format", "mask", "--backend", "onnx", "--out", tmp_path)
    outcome = command("predict", photo("chelsea.png"), *options)
    assert outcome.code == 0, outcome.err
    for index, prompt in enumerate(MIXED, start=1):
        session = service.act(token, [{"do": "clear"}, {"do": "restore", **prompt_view(prompt)}])
        page, given = tmp_path / f"page-{index}.png", tmp_path / f"chelsea-mask{'' if index == 1 else f'-{index}'}.png"
        page.write_bytes(save(service, session, "mask").content)
        np.testing.assert_array_equal(read_mask(page), read_mask(given))
        (saved,) = parse_prompts(save(service, session, "prompts").content.decode()).for_image("image.png")
        assert saved == replace(prompt, label=None)


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


def without_candidates(service: Service, token: str) -> None:
    """Leave the state as one whose masks were not computed yet, or dropped."""
    service.sessions.change(token, lambda state: replace(state, candidates=None))


def test_actions_whose_masks_cannot_be_computed_are_not_applied(
    service: Service, page: dict[str, Any], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = service.act(token, [point(EYE)])
    call = {"token": token, "actions": [point(WALL, 0)], "image": key_of(service, token)}
    with monkeypatch.context() as patch, Held(patch, service, "decoders"):
        refused = page["act"](call)
        assert refused["error"] == "The server is busy: 0 requests are waiting. Try again in a moment."
    after = service.session(token)
    assert after == before
    assert after.candidates is before.candidates
    assert page["act"](call)["session"]["prompt"]["points"] == [[*EYE, 1], [*WALL, 0]]


def test_the_masks_are_those_of_the_state_where_the_model_is_switched_meanwhile(
    service: Service, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = service.decode

    def switching(session: Session, prompt: ObjectPrompt) -> Any:
        candidates = decode(session, prompt)
        if session.model == "onnx":
            service.sessions.change(token, lambda state: states.with_model(state, "plain"))
        return candidates

    monkeypatch.setattr(service, "decode", switching)
    session = service.act(token, [point(EYE)])
    assert (session.model, session.candidates is None) == ("plain", False)
    assert session.candidates is service.session(token).candidates


def test_masks_that_were_dropped_are_computed_again(
    service: Service, page: dict[str, Any], client: TestClient, token: str
) -> None:
    service.act(token, [point(EYE)])
    expected = save(service, service.session(token), "mask").content
    headers = {"X-Session": token, "X-Image": key_of(service, token)}
    without_candidates(service, token)
    assert client.post("/service/save/mask", headers=headers, json={}).content == expected
    without_candidates(service, token)
    assert len(page["hello"]({"token": token})["session"]["masks"]) == 3, "a page that is reloaded"
    without_candidates(service, token)
    chosen = service.act(token, [{"do": "choose", "index": 1}])
    assert chosen.chosen == 1
    assert np.array_equal(
        mask_of(service, service.act(token, [{"do": "clear"}, {"do": "undo"}])), mask_of(service, chosen)
    )


def test_copies_of_one_session_do_not_displace_others(
    service: Service, page: dict[str, Any], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "sessions", SessionStore(limit=20))
    image = ShownImage("digest" * 4, (4, 4), "image.png")
    service.images.put(image.digest, np.zeros((4, 4, 3), np.uint8), 48)
    others = [service.sessions.create(Session("onnx", image)) for _ in range(10)]
    first = current = service.sessions.create(Session("onnx", image, segments=({"area": 1},), run=3))  # type: ignore[arg-type]
    for _ in range(40):
        current = page["hello"]({"token": current})["token"]
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


def test_all_that_is_kept_is_part_of_the_memory_that_was_given(onnx_sam: Any) -> None:
    small = Service(Models({"onnx": Choice("ONNX", lambda: onnx_sam)}), Limits(cache_mb=10))
    try:
        caches = (small.images, small.embeddings, small.feedback)
        assert sum(cache.limit for cache in caches) + small.sessions.limit_bytes == 10_000_000
    finally:
        small.close()
