"""segment_many: lists and generators of images, with boxes or in everything mode, in one process and in several."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import segment_many
from mobilesam.batch import Everything, ModelChoice, SegmentationJob, segment_images
from mobilesam.errors import InputError
from mobilesam.prompts.file import ObjectPrompt, PromptFile
from tests.automatic.color_model import ColorModel, squares
from tests.photos import photo

BOXES = [(40, 80, 320, 440), (400, 120, 720, 360)]
IMAGE = squares((640, 1024), BOXES)


def areas(result: Any) -> list[int]:
    return [record["area"] for record in result.records]


def test_boxes_of_arrays() -> None:
    prompts = [np.array(BOXES), [], BOXES[:1], [ObjectPrompt(box=BOXES[1], label="plate", score=0.5)]]
    results = list(segment_many([IMAGE] * 4, prompts, model=ColorModel()))
    assert [result.number for result in results] == [0, 1, 2, 3]
    assert [len(result.records) for result in results] == [2, 0, 1, 1]
    assert results[1].masks.shape == (0, 640, 1024)
    masks = results[0].masks
    assert (masks.dtype, masks.shape) == (bool, (2, 640, 1024))
    assert masks.sum(axis=(1, 2)).tolist() == areas(results[0])
    assert results[0].records[0]["bbox"] == pytest.approx([40, 80, 279, 359], abs=2)
    (plate,) = results[3].records
    assert (plate["label"], plate["score"]) == ("plate", 0.5)
    assert results[2].source is IMAGE


def test_a_bad_image_or_prompt_has_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    images = [tmp_path / "text.jpg", tmp_path / "none.jpg", np.zeros((4, 4, 7)), IMAGE, IMAGE, IMAGE, IMAGE]
    boxes = [[], [], [], [[1, 2, 3]], [[2000, 0, 2010, 9]], ["x"], BOXES]
    results = list(segment_many(images, boxes, model=ColorModel()))
    messages = [
        "text.jpg",
        "none.jpg",
        "image 2: image must",
        "image 3: the prompts of an image must be boxes, (N, 4), or ObjectPrompts, got shape (1, 3)",
        "image 4: a box must overlap the image, 1024 wide and 640 high, got x1 2000",
        "image 5: the prompts of an image must be boxes",
    ]
    for result, message in zip(results, messages, strict=False):
        assert message in result.error
        with pytest.raises(InputError, match="must"):
            _ = result.masks
    assert len(results[6].records) == 2


def test_images_are_taken_when_they_are_needed() -> None:
    taken = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            taken.append(len(taken))
            yield IMAGE

    results = segment_many(endless(), iter(lambda: BOXES, None), model=ColorModel())
    assert not taken
    assert [next(results).number for _ in range(3)] == [0, 1, 2]
    assert len(taken) < 12
    results.close()


def test_everything_mode_gives_the_masks_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilesam.loading.load", lambda *_, **__: ColorModel())
    (tmp_path / "model.bin").write_bytes(b"weights")
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    (result,) = segment_many([path], mode="fast", points_per_side=8, max_masks=2)
    settings = Everything("fast", points_per_side=8, max_masks=2)
    choice = ModelChoice(str(tmp_path / "model.bin"))
    segment_images(SegmentationJob([str(path)], tmp_path / "out", settings=settings, model=choice))
    (masks,) = mobilesam.formats.read_coco(tmp_path / "out/coco.json")
    assert [record["area"] for record in masks.records] == areas(result)


def test_prompts_of_a_file_go_to_the_images_of_their_names(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    boxes = tuple(ObjectPrompt(box=box) for box in BOXES)
    prompts = PromptFile({"b.png": boxes, "a.png": boxes[:1]}, bad={"d.png": "d.png is not right."})
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png", "d.png")]
    results = list(segment_many(paths, prompts, model=ColorModel()))
    assert [len(result.records) for result in results[:3]] == [1, 2, 0]
    assert results[3].error == f"{tmp_path / 'd.png'}: d.png is not right."


def test_images_are_encoded_together_where_the_model_says_so() -> None:
    counts = []

    class Together(ColorModel):
        @property
        def capabilities(self) -> Any:
            return dataclasses.replace(super().capabilities, encode_batch=3)

        def encode_batch(self, images: Any, *, fast_padding: bool = False) -> Any:
            counts.append(len(images))
            if len(images) > 2:
                raise MemoryError
            return super().encode_batch(images, fast_padding=fast_padding)

    model = Together()
    results = list(segment_many([IMAGE] * 5, [BOXES, [], BOXES, BOXES, BOXES], model=model))
    assert [len(result.records) for result in results] == [2, 0, 2, 2, 2]
    assert counts[0] == 2
    assert sum(counts) == 4
    with_error = list(segment_many([IMAGE] * 3, [BOXES] * 3, model=model))
    assert [len(result.records) for result in with_error] == [2, 2, 2]
    assert counts[-4:] == [3, 1, 1, 1]


def test_warnings_are_given_once() -> None:
    outside = [ObjectPrompt(points=((2000.0, 10.0),), labels=(1,))]
    with pytest.warns(UserWarning, match=r"point \[2000, 10\] lies outside the image") as caught:
        list(segment_many([IMAGE] * 2, [outside * 2] * 2, model=ColorModel()))
    assert [str(each.message)[:8] for each in caught] == ["image 0:", "image 1:"]
    assert {Path(each.filename) for each in caught} == {Path(__file__)}


def test_wrong_arguments() -> None:
    for arguments, keywords, message in (
        ((IMAGE,), {}, "images must be several images, got ndarray"),
        (("a.jpg",), {}, "images must be several images, got str; pass a list"),
        ((3,), {}, "images must be several images, got int"),
        (([IMAGE], "boxes.json"), {}, "prompts must have the objects of each image, got str"),
        (([IMAGE], [BOXES]), {"mode": "fast"}, "mode must be used without prompts, got 'fast'"),
        (([IMAGE],), {"mode": "slow"}, "mode must be one of exact, balanced, fast"),
        (([IMAGE],), {"select": "best"}, "select must be one of"),
        (([IMAGE],), {"workers": 0}, "workers must be at least 1, got 0"),
        (([IMAGE],), {"workers": 2}, "model must be a ModelChoice for several workers, got ColorModel"),
    ):
        with pytest.raises(InputError, match=message):
            segment_many(*arguments, model=ColorModel(), **keywords)
    for images, prompts in (([IMAGE] * 2, [BOXES]), ([IMAGE], [BOXES] * 2)):
        with pytest.raises(InputError, match="prompts must have one entry for each image"):
            list(segment_many(images, prompts, model=ColorModel()))


@pytest.mark.weights
def test_workers_give_the_masks_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "coffee.png"
    Image.fromarray(photo("coffee")).save(path)
    images = [str(path), photo("chelsea"), io.BytesIO(path.read_bytes()), io.BytesIO(b"no image")]
    boxes = [[[100, 50, 400, 300]], [[120, 30, 380, 280]], [[100, 50, 400, 300]], []]
    choice = ModelChoice(threads=1)
    many = {each.number: each for each in segment_many(images, boxes, model=choice, workers=2)}
    one = list(segment_many(images[:2], boxes[:2], model=choice))
    assert [areas(many[number]) for number in range(3)] == [areas(one[0]), areas(one[1]), areas(one[0])]
    assert "image 3" in many[3].error
    assert many[2].source is images[2]
