"""Prompt files of version 2: an object's steps are read, written, refused with their place, and replayed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.prompts.file import PromptFile, dump, parse_prompts, read_prompts
from mobilesam.prompts.object_prompt import MAX_STEPS, ObjectPrompt

POINT = ObjectPrompt(((220, 110),), (1,))
PAIR = ObjectPrompt(((220, 110), (40.5, 60)), (1, 0))
CHOSEN = replace(POINT, chosen=3)
REFINED = replace(PAIR, steps=(CHOSEN,), label="cat")
BOXED = ObjectPrompt(((1, 2),), (0,), (10, 20, 200, 180), steps=(CHOSEN, replace(PAIR, chosen=0)), chosen=0)


def steps(text: str) -> str:
    return f'{{"version": 2, "objects": [{{"steps": {text}}}]}}'


def test_steps_are_read() -> None:
    text = '[{"points": [[220, 110]], "chosen": 3}, {"points": [[220, 110, 1], [40.5, 60, 0]]}], "label": "cat"'
    assert parse_prompts(steps(text)).objects == (REFINED,)
    assert parse_prompts(steps('[{"points": [[220, 110]], "chosen": 3}]')).objects == (CHOSEN,)
    assert parse_prompts(steps('[{"points": [[220, 110]]}]')).objects == (POINT,)
    plain = '{"version": 2, "images": {"a.png": [{"box": [1, 2, 3, 4], "label": "cup"}]}}'
    assert parse_prompts(plain).for_image("a.png") == [ObjectPrompt(box=(1, 2, 3, 4), label="cup")]


@pytest.mark.parametrize("prompts", [PromptFile(objects=(REFINED, POINT)), PromptFile({"a.png": (BOXED, CHOSEN)})])
def test_steps_are_written_and_read_back(prompts: PromptFile) -> None:
    assert parse_prompts(dump(prompts)) == prompts
    assert json.loads(dump(prompts))["version"] == 2


def test_version_1_is_written_where_no_step_is_needed() -> None:
    assert json.loads(dump(PromptFile(objects=(POINT, PAIR))))["version"] == 1
    assert dump(PromptFile({"a.png": (REFINED,)})) == (
        '{"version": 2, "images": {\n"a.png": [\n'
        '  {"steps": [{"points": [[220, 110, 1]], "chosen": 3}, {"points": [[220, 110, 1], [40.5, 60, 0]]}],'
        ' "label": "cat"}\n]\n}}\n'
    )
    with pytest.raises(InputError, match=r"^mask_input must be None for a prompt file, got an array; use steps"):
        dump(PromptFile(objects=(replace(POINT, mask_input=np.zeros((1, 256, 256), np.float32)),)))


POINT_1 = '{"points": [[1, 2]], "chosen": 1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f'{{"version": 1, "objects": [{{"steps": [{POINT_1}]}}]}}',
            'p.json: objects[0].steps must be in a file of version 2, got version 1; write "version": 2',
        ),
        (steps("[]"), "p.json: objects[0].steps must be a list of steps, got []"),
        (steps("{}"), "p.json: objects[0].steps must be a list of steps, got {}"),
        (steps("null"), "p.json: objects[0].steps must be a list of steps, got null"),
        (steps("[5]"), "p.json: objects[0].steps[0] must be an object with points, box, chosen, got 5"),
        (
            steps(f'[{POINT_1}], "points": [[1, 2]]'),
            "p.json: objects[0] must have either steps or points and box, got steps and points; move them to the last",
        ),
        (steps(f'[{POINT_1}], "box": [1, 2, 3, 4]'), "must have either steps or points and box, got steps and box"),
        (steps('[{"points": [[1, 2]], "chosen": 4}]'), "objects[0].steps[0].chosen must be 0, 1, 2 or 3, got 4; 0 is"),
        (steps('[{"points": [[1, 2]], "chosen": -1}]'), "objects[0].steps[0].chosen must be 0, 1, 2 or 3, got -1"),
        (steps('[{"points": [[1, 2]], "chosen": true}]'), "objects[0].steps[0].chosen must be 0, 1, 2 or 3, got true"),
        (steps('[{"points": [[1, 2]], "chosen": 1.0}]'), "objects[0].steps[0].chosen must be 0, 1, 2 or 3, got 1.0"),
        (steps('[{"points": [[1, 2]], "chosen": "1"}]'), 'objects[0].steps[0].chosen must be 0, 1, 2 or 3, got "1"'),
        (steps('[{"points": [[1, 2]], "chosen": null}]'), "objects[0].steps[0].chosen must be 0, 1, 2 or 3, got null"),
        (
            steps(f'[{{"points": [[1, 2]]}}, {POINT_1}]'),
            "p.json: objects[0].steps[0].chosen must be given in every step before the last, got none; set it",
        ),
        (
            steps(f"[{', '.join([POINT_1] * (MAX_STEPS + 1))}]"),
            f"objects[0].steps must have at most {MAX_STEPS} steps, got {MAX_STEPS + 1}; remove the earliest",
        ),
        (steps('[{"chosen": 1}]'), "p.json: objects[0].steps[0] must have points, a box or both, got neither"),
        (steps('[{"points": [[1]], "chosen": 1}]'), "objects[0].steps[0].points[0] must be [x, y] or [x, y, label]"),
        (
            steps(f'[{POINT_1}, {{"points": [[1, 2]], "label": "cat"}}]'),
            "p.json: objects[0].steps[1]: each key must be one of points, box, chosen, got 'label'",
        ),
        (
            steps(f'[{POINT_1}, {{"steps": [{POINT_1}]}}]'),
            "objects[0].steps[1]: each key must be one of points, box, chosen, got 'steps'",
        ),
        (
            '{"version": 2, "objects": [{"point": []}]}',
            "each key must be one of points, box, steps, label, got 'point'",
        ),
        (
            '{"version": 1, "objects": [{"points": [[1, 2, 0]]}]}',
            "p.json: objects[0] must have a foreground point or a box, got background points alone; add a point of",
        ),
        (steps('[{"points": [[1, 2, 0]], "chosen": 1}]'), "objects[0].steps[0] must have a foreground point or a box"),
        (
            '[{"type": "point", "data": [1, 2], "label": 0}]',
            "p.json must have a foreground point or a box, got background points alone",
        ),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_prompts(text, "p.json")
    assert message in str(caught.value)


def test_deep_nesting_is_refused_whichever_limit_it_meets() -> None:
    for depth in range(900, 1010, 2):
        with pytest.raises(InputError, match=r"^prompts"):
            parse_prompts(f'{{"version": 1, "objects": [{{"points": {"[" * depth}{"]" * depth}}}]}}')


def test_a_file_without_end_is_refused() -> None:
    message = r"^prompt file must be readable, got /dev/zero \(a device, not a regular file\)"
    with pytest.raises(InputError, match=message):
        read_prompts(Path("/dev/zero"))


EYE, INSIDE, WALL = (172.0, 107.0), (183.0, 107.0), (430.0, 40.0)
EYE_POINT = ObjectPrompt((EYE,), (1,))
HEAD = replace(EYE_POINT, chosen=2)  # neither the eye alone nor the whole cat
MIXED = [
    ObjectPrompt(box=(40, 10, 420, 290)),
    ObjectPrompt(box=(140, 80, 210, 150), label="eye"),
    EYE_POINT,
    ObjectPrompt(((300, 150),), (1,)),
    ObjectPrompt((EYE, WALL), (1, 0)),
    HEAD,
    ObjectPrompt((EYE, INSIDE), (1, 1), steps=(HEAD,)),
    ObjectPrompt(
        (EYE, INSIDE, WALL), (1, 1, 0), (40, 10, 420, 290), steps=(HEAD, ObjectPrompt((EYE, INSIDE), (1, 1), chosen=0))
    ),
]


def masks(records: list[list[Any]]) -> list[Any]:
    from mobilesam.masks import rle

    return [rle.rle_to_mask(record["segmentation"]) for (record,) in records]


def iou(one: Any, other: Any) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


@pytest.fixture(scope="module")
def embedding(onnx_sam: Any, photo: Any) -> Any:
    from mobilesam.image.read import read_image

    return onnx_sam.encode(read_image(photo("chelsea.png")))


@pytest.mark.weights
def test_a_chosen_mask_is_kept_by_the_next_mark(onnx_sam: Any, embedding: Any) -> None:
    from mobilesam.segment import segment_objects

    two = ObjectPrompt((EYE, INSIDE), (1, 1))
    chosen, plain, refined = masks(segment_objects(onnx_sam, embedding, [HEAD, two, replace(two, steps=(HEAD,))]))
    assert iou(chosen, plain) < 0.3
    assert iou(chosen, refined) > 0.95


@pytest.mark.weights
def test_a_step_is_what_a_person_does_with_the_predictor(onnx_sam: Any, embedding: Any) -> None:
    from mobilesam.config import ALL_MASKS, SINGLE_MASK
    from mobilesam.prompts.arrays import make_prompts
    from mobilesam.segment import decode

    frame = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    first, _ = make_prompts([EYE], [1], **frame)
    logits = onnx_sam.decode(embedding, first, ALL_MASKS).low_res_logits[0]
    second, _ = make_prompts([EYE, INSIDE], [1, 1], None, logits[2][None], **frame)
    expected = onnx_sam.decode(embedding, second, SINGLE_MASK)
    (candidates,) = decode(onnx_sam, embedding, [ObjectPrompt((EYE, INSIDE), (1, 1), steps=(HEAD,))])
    np.testing.assert_array_equal(candidates.low_res_logits, expected.low_res_logits[0])
    given = ObjectPrompt((EYE, INSIDE), (1, 1), mask_input=logits[2][None])
    (again,) = decode(onnx_sam, embedding, [given])
    np.testing.assert_array_equal(again.low_res_logits, candidates.low_res_logits)


@pytest.mark.weights
@pytest.mark.parametrize("backend", ["onnx", pytest.param("torch", marks=pytest.mark.torch)])
def test_company_changes_no_mask(backend: str, request: Any, embedding: Any) -> None:
    from mobilesam.loading import as_mask_model
    from mobilesam.model import Embedding
    from mobilesam.segment import segment_objects

    model = request.getfixturevalue("onnx_sam" if backend == "onnx" else "sam")
    model = as_mask_model(model)
    here = Embedding(model.load_features(embedding.features), embedding.original_hw, embedding.input_hw)
    prompts = [*MIXED[:4], MIXED[6], MIXED[0]]
    together = segment_objects(model, here, prompts)
    alone = [segment_objects(model, here, [prompt])[0] for prompt in prompts]
    assert together == alone


@pytest.mark.weights
def test_records_contain_the_prompt(onnx_sam: Any, embedding: Any) -> None:
    from mobilesam.segment import segment_objects

    box, labeled, point, *_ = (record for (record,) in segment_objects(onnx_sam, embedding, MIXED))
    assert (box["prompt_box"], box["point_coords"], box.get("label")) == ([40, 10, 420, 290], [], None)
    assert (labeled["label"], point["point_coords"]) == ("eye", [list(EYE)])
    assert "prompt_box" not in point
    (three,) = segment_objects(onnx_sam, embedding, [EYE_POINT], select="all")
    scores = [record["predicted_iou"] for record in three]
    assert scores == sorted(scores, reverse=True)
    assert len({record["area"] for record in three}) == 3
    for index in range(4):
        (again,) = segment_objects(onnx_sam, embedding, [replace(EYE_POINT, chosen=index)], select="all")
        assert again == three
    (chosen,) = segment_objects(onnx_sam, embedding, [HEAD], select="single")
    assert chosen == segment_objects(onnx_sam, embedding, [HEAD])[0]


@pytest.mark.weights
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            ObjectPrompt((WALL,), (0,)),
            "a prompt must have a foreground point or a box, got background points alone;",
        ),
        (ObjectPrompt(), "a prompt must have a foreground point or a box, got neither; add a point of label 1"),
        (
            replace(PAIR, steps=(POINT,)),
            "chosen must be 0, 1, 2 or 3 in each step before the last, got None; set it to the index of the mask",
        ),
        (replace(PAIR, steps=(CHOSEN,) * MAX_STEPS), f"a prompt must have at most {MAX_STEPS} steps, got "),
        (replace(PAIR, chosen=-1), "chosen must be 0, 1, 2 or 3, got -1"),
        (replace(PAIR, chosen=4), "chosen must be 0, 1, 2 or 3, got 4; or None for the mask by select"),
        (replace(PAIR, steps=(replace(POINT, labels=(0,), chosen=1),)), "got background points alone"),
    ],
)
def test_what_no_mask_can_be_made_of(prompt: ObjectPrompt, message: str, onnx_sam: Any, embedding: Any) -> None:
    from mobilesam.segment import segment_objects

    with pytest.raises(InputError) as caught:
        segment_objects(onnx_sam, embedding, [POINT, prompt])
    assert message in str(caught.value)


@pytest.mark.weights
def test_a_box_follows_a_chosen_mask(onnx_sam: Any, embedding: Any) -> None:
    """As when a user draws another box around the mask that was chosen."""
    from mobilesam.segment import segment_objects

    steps = (ObjectPrompt(box=(20, 20, 300, 250), chosen=1),)
    boxes = [ObjectPrompt(box=(20, 20, right, 250), steps=steps) for right in (280, 260)]
    together = segment_objects(onnx_sam, embedding, boxes)
    assert together == [segment_objects(onnx_sam, embedding, [box])[0] for box in boxes]
    assert together != segment_objects(onnx_sam, embedding, [replace(box, steps=()) for box in boxes])


@pytest.mark.weights
def test_a_decoder_of_one_mask_says_so(pair: Any, embedding: Any) -> None:
    from mobilesam.onnx import OnnxSam
    from mobilesam.segment import segment_objects

    single = OnnxSam.from_files(pair)
    assert single.capabilities.masks_per_prompt == 1
    zero = replace(POINT, chosen=0)
    two = segment_objects(single, embedding, [POINT, zero])
    assert two[0] == two[1]
    with pytest.raises(InputError, match="chosen must be below 1, the number of the decoder's masks, got 3; use a"):
        segment_objects(single, embedding, [CHOSEN])


@pytest.mark.weights
def test_predict_and_batch_give_the_masks_of_a_list_to_the_pixel(
    command: Any, photo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnx_sam: Any
) -> None:
    from mobilesam.formats.png import read_mask
    from mobilesam.image.read import read_image
    from mobilesam.segment import segment_objects

    monkeypatch.chdir(tmp_path)
    Path("p.json").write_text(dump(PromptFile({"chelsea.png": tuple(MIXED)})))
    arguments = ["--prompts", "p.json", "--format", "mask", "--backend", "onnx"]
    outcome = command("predict", photo("chelsea.png"), *arguments, "--out", "predict", "--json")
    assert outcome.code == 0, outcome.err
    written = json.loads(outcome.out)["images"][0]["objects"]
    assert [each["prompt"].get("steps", [{}])[-1].get("chosen") for each in written] == [None] * 5 + [2, None, None]
    assert command("batch", photo("chelsea.png"), *arguments, "--out", "batch", "--workers", 1).code == 0
    embedding = onnx_sam.encode(read_image(photo("chelsea.png")))
    for index, expected in enumerate(masks(segment_objects(onnx_sam, embedding, MIXED)), start=1):
        number = "" if index == 1 else f"-{index}"
        np.testing.assert_array_equal(read_mask(Path(f"predict/chelsea-mask{number}.png")), expected)
        np.testing.assert_array_equal(read_mask(Path(f"batch/chelsea-masks/{index:03}.png")), expected)


def test_a_background_point_alone_is_refused_before_a_model_is_loaded(command: Any, photo: Any, tmp_path: Path) -> None:
    model = ("--model", "does/not/exist.pt", "--out", tmp_path)
    outcome = command("predict", photo("chelsea.png"), "--point", "10,10,0", *model)
    assert (outcome.code, outcome.out) == (2, "")
    assert "error: points must have a foreground point or a box, got background points alone; add a" in outcome.err
    (tmp_path / "p.json").write_text('{"version": 1, "objects": [{"box": [1, 2, 3, 4]}, {"points": [[1, 2, 0]]}]}')
    for arguments in (["predict"], ["batch", "--workers", 1]):
        outcome = command(arguments[0], photo("chelsea.png"), "--prompts", tmp_path / "p.json", *arguments[1:], *model)
        assert outcome.code == 1
        assert "p.json: objects[1] must have a foreground point or a box, got background points alone;" in outcome.err
