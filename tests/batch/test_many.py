"""segment_many: lists and generators of images, with boxes or in everything mode, in one process and in several."""

from __future__ import annotations

import dataclasses
import io
import itertools
import queue
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

import mobilesam
from mobilesam import segment_many
from mobilesam.batch import Everything, ModelChoice, SegmentationJob, segment_images
from mobilesam.errors import InputError
from mobilesam.prompts.file import ObjectPrompt, Problem, PromptFile
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
    images = [tmp_path / "text.jpg", tmp_path / "none.jpg", np.zeros((4, 4, 7)), *[IMAGE] * 6]
    boxes = [[], [], [], [[1, 2, 3]], [[2000, 0, 2010, 9]], ["x"], [[1, 2, float("nan"), 4]], 3, BOXES]
    results = list(segment_many(images, boxes, model=ColorModel()))
    messages = [
        "text.jpg",
        "none.jpg",
        "image 2: image must",
        "image 3: the prompts of an image must be boxes, (N, 4), or ObjectPrompts, got shape (1, 3)",
        "image 4: a box must overlap the image, 1024 wide and 640 high, got x1 2000",
        "image 5: the prompts of an image must be boxes",
        "image 6: box 0 of an image must have a width and a height, got x1 1, y1 2, x2 nan",
        "image 7: the prompts of an image must be boxes",
    ]
    for result, message in zip(results, messages, strict=False):
        assert message in result.error
        with pytest.raises(InputError, match="must"):
            _ = result.masks
    assert len(results[8].records) == 2


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
    prompts = PromptFile({"b.png": boxes, "a.png": boxes[:1]}, problems=(Problem("An entry is not right."),))
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    with pytest.warns(UserWarning, match=r"An entry is not right\."):
        results = list(segment_many([*paths, IMAGE], prompts, model=ColorModel()))
    assert [len(result.records) for result in results[:3]] == [1, 2, 0]
    assert "an image must be a path for prompts with names, got ndarray" in results[3].error
    with pytest.raises(InputError, match="The prompts name none of the images"):
        list(segment_many(paths[2:], replace(prompts, problems=()), model=ColorModel()))


def test_what_is_given_may_change_or_be_closed_afterwards(tmp_path: Path) -> None:
    """As with the buffer of a camera, the frames of a file, or files in a with statement."""
    areas_of = [(number + 1) * 5000 for number in range(5)]
    frames = [squares((640, 1024), [(100, 100, 200, 100 + area // 100)]) for area in areas_of]
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    Image.fromarray(frames[0]).save(
        tmp_path / "stack.tif", save_all=True, append_images=[Image.fromarray(frame) for frame in frames[1:]]
    )
    box = [90, 90, 210, 130]

    def buffers() -> Iterator[np.ndarray]:
        buffer = np.empty_like(frames[0])
        for frame in frames:
            buffer[:] = frame
            yield buffer

    def images() -> Iterator[Image.Image]:
        for number in range(5):
            with Image.open(tmp_path / f"{number}.png") as image:
                yield image

    def files() -> Iterator[Any]:
        for number in range(5):
            with (tmp_path / f"{number}.png").open("rb") as file:
                yield file

    with Image.open(tmp_path / "stack.tif") as stack:
        for source in (buffers(), images(), files(), ImageSequence.Iterator(stack)):
            results = list(segment_many(source, itertools.repeat(box), model=ColorModel()))
            assert [areas(result)[0] for result in results] == pytest.approx(areas_of, rel=0.05)


def test_an_error_of_the_images_is_raised_after_the_results_before_it() -> None:
    def broken(error: Exception) -> Iterator[np.ndarray]:
        yield from [IMAGE] * 3
        raise error

    for error in (OSError("the camera is gone"), queue.Empty()):
        results = segment_many(broken(error), itertools.repeat(BOXES), model=ColorModel())
        assert [next(results).number for _ in range(3)] == [0, 1, 2]
        with pytest.raises(type(error)):
            next(results)


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
        (([IMAGE], [BOXES]), {"select": "best"}, "select must be one of"),
        (([IMAGE],), {"select": "score"}, "select must be used with prompts, got 'score'; leave it out"),
        (([IMAGE], [BOXES]), {"max_masks": 3}, "max_masks must be used without prompts, got 3"),
        (([IMAGE],), {"max_masks": -1}, "max_masks must be at least 1, got -1"),
        (([IMAGE] * 2, [BOXES]), {}, "prompts must have one entry for each image, got 1 for 2 images"),
        (([IMAGE], {"a.png": BOXES}), {}, "prompts must have the objects of each image, got dict"),
        (([IMAGE],), {"workers": 0}, "workers must be a whole number from 1, got 0"),
        (([IMAGE],), {"workers": "2"}, "workers must be a whole number from 1, got '2'"),
        (([IMAGE],), {"workers": 2}, "model must be a ModelChoice for several workers, got ColorModel"),
    ):
        with pytest.raises(InputError, match=message):
            segment_many(*arguments, model=ColorModel(), **keywords)
    with pytest.raises(InputError, match="prompts must have one entry for each image, got none for image 1"):
        list(segment_many([IMAGE] * 2, iter([BOXES]), model=ColorModel()))


@pytest.mark.weights
def test_an_error_of_the_images_is_raised_after_the_results_of_workers() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from [photo("coffee"), photo("chelsea")]
        raise OSError("the camera is off")

    results = segment_many(broken(), itertools.repeat([]), model=ModelChoice(threads=1), workers=2)
    assert {next(results).number for _ in range(2)} == {0, 1}
    with pytest.raises(OSError, match="the camera is off"):
        next(results)


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
