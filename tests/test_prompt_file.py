"""Prompt files: read, written, and refused with the place of the fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.errors import InputError
from mobilesam.prompts.arrays import make_prompts
from mobilesam.prompts.file import ObjectPrompt, PromptFile, dump, group, parse_prompts, read_prompts

TEXT = """{"version": 1, "images": {
  "photos/cat.jpg": [{"points": [[220, 110, 1], [40.5, 60, 0]]},
                     {"box": [10, 20, 200, 180], "points": [[90, 90]]}],
  "dog.png": [{"box": [1, 2, 3, 4]}]}}"""
CAT = ObjectPrompt(((220, 110), (40.5, 60)), (1, 0))
BOXED_CAT = ObjectPrompt(((90, 90),), (1,), (10, 20, 200, 180))
DOG = ObjectPrompt(box=(1, 2, 3, 4))


def test_objects_of_named_photos() -> None:
    prompts = parse_prompts(TEXT)
    assert prompts == PromptFile({"photos/cat.jpg": (CAT, BOXED_CAT), "dog.png": (DOG,)})
    assert prompts.for_image("photos/cat.jpg") == [CAT, BOXED_CAT]


@pytest.mark.parametrize("path", ["/home/me/photos/cat.jpg", "elsewhere/photos/cat.jpg", Path("photos/cat.jpg")])
def test_a_photo_is_found_by_the_end_of_its_path(path: str | Path) -> None:
    assert parse_prompts(TEXT).for_image(path) == [CAT, BOXED_CAT]


def test_the_longest_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = PromptFile({"cat.jpg": (CAT,), "b/cat.jpg": (DOG,), str(tmp_path / "cat.jpg"): (BOXED_CAT,)})
    assert prompts.for_image("a/b/cat.jpg") == [DOG]
    assert prompts.for_image("a/c/cat.jpg") == [CAT]
    monkeypatch.chdir(tmp_path)
    assert prompts.for_image("./sub/../cat.jpg") == [CAT]
    assert prompts.for_image(tmp_path / "cat.jpg") == [BOXED_CAT]


def test_a_name_is_not_found_by_a_part_of_a_word() -> None:
    with pytest.raises(InputError) as caught:
        parse_prompts(TEXT).for_image("bigdog.png")
    assert str(caught.value) == (
        "The prompt file has no prompts for 'bigdog.png'. It has prompts for 'dog.png', for example."
    )


def test_objects_for_every_photo() -> None:
    prompts = parse_prompts('{"version": 1, "objects": [{"points": [[5, 6]]}, {"box": [1, 2, 3, 4]}]}')
    assert prompts.for_image("any.png") == prompts.for_image("-") == [ObjectPrompt(((5, 6),), (1,)), DOG]


def test_samexporters_marks_are_one_object() -> None:
    marks = """[{"type": "point", "data": [220, 110], "label": 1}, {"type": "point", "data": [40.5, 60], "label": 0},
                {"type": "rectangle", "data": [1, 2, 3, 4]}]"""
    assert parse_prompts(marks).for_image("x.png") == [ObjectPrompt(CAT.points, CAT.labels, DOG.box)]


@pytest.mark.parametrize("prompts", [parse_prompts(TEXT), PromptFile(objects=(CAT, DOG))])
def test_what_is_written_is_read_back(prompts: PromptFile) -> None:
    assert parse_prompts(dump(prompts)) == prompts


def test_the_text_is_one_object_a_line() -> None:
    assert dump(parse_prompts(TEXT)) == (
        '{"version": 1, "images": {\n'
        '"photos/cat.jpg": [\n'
        '  {"points": [[220, 110, 1], [40.5, 60, 0]]},\n'
        '  {"points": [[90, 90, 1]], "box": [10, 20, 200, 180]}\n'
        "],\n"
        '"dog.png": [\n'
        '  {"box": [1, 2, 3, 4]}\n'
        "]\n"
        "}}\n"
    )


@pytest.mark.parametrize("prompt", [CAT, BOXED_CAT, DOG])
def test_an_object_is_arguments_of_predict(prompt: ObjectPrompt) -> None:
    prompts, batched = make_prompts(**prompt.arguments(), original_hw=(400, 600), input_hw=(683, 1024))
    assert not batched
    corners = 0 if prompt.box is None else 2
    assert prompts.point_labels.shape == (1, len(prompt.points) + (corners or 1))


def test_loose_points_are_one_object_and_loose_boxes_several() -> None:
    points = [(220, 110, 1), (40.5, 60, 0)]
    assert group(points, []) == [CAT]
    assert group([], [(1, 2, 3, 4), (10, 20, 200, 180)]) == [DOG, ObjectPrompt(box=(10, 20, 200, 180))]
    assert group([(90, 90, 1)], [(10, 20, 200, 180)]) == [BOXED_CAT]
    assert group([], []) == []
    with pytest.raises(InputError) as caught:
        group(points, [(1, 2, 3, 4)] * 2)
    assert str(caught.value) == (
        "points must come with at most one box, got 2 boxes; "
        "use a prompt file with one object for each box and its points"
    )


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text("\ufeff" + TEXT, encoding="utf-8")
    assert read_prompts(path) == parse_prompts(TEXT)
    path.write_text('{"version": 1', encoding="utf-8")
    with pytest.raises(InputError, match=rf"^{path} must be JSON, got Expecting ',' delimiter at line 1, column 14"):
        read_prompts(path)
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=rf"^prompt file must be UTF-8 text, got {path} \("):
        read_prompts(path)
    with pytest.raises(InputError, match=rf"^prompt file must exist, got {tmp_path}/no.json; check the path"):
        read_prompts(tmp_path / "no.json")
    with pytest.raises(InputError, match=rf"^prompt file must be readable, got {tmp_path} \(Is a directory\)"):
        read_prompts(tmp_path)


def document(entry: str) -> str:
    return f'{{"version": 1, "images": {{"a.png": [{entry}]}}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"version": 1,\n "images": }',
            "p.json must be JSON, got Expecting value at line 2, column 12; correct the file",
        ),
        ("", "p.json must be JSON, got Expecting value at line 1, column 1"),
        (
            "[" * 100_000,
            "p.json cannot be read: it is nested too deeply. Correct",
        ),
        (
            "1" * 5000,
            "p.json cannot be read: it holds a number of more than 4300 digits.",
        ),
        ("5", "p.json must be an object with version, images, objects, got 5; use braces"),
        ('{"images": {}}', 'p.json: version must be 1 or 2, got none; write "version": 1, or 2 for steps'),
        ('{"version": 3, "objects": []}', "p.json: version must be 1 or 2, got 3"),
        ('{"version": true, "objects": []}', "p.json: version must be 1 or 2, got True"),
        (
            '{"version": 1, "imagse": {}}',
            "p.json: each key must be one of version, images, objects, got 'imagse'; did you mean 'images'?",
        ),
        (
            '{"version": 1}',
            "p.json must have either images or objects, got neither; "
            "use images for named images, or objects for every image",
        ),
        ('{"version": 1, "images": {}, "objects": []}', "p.json must have either images or objects, got both"),
        ('{"version": 1, "images": {}}', "p.json: images must map image names to lists of objects, got {}; add one"),
        ('{"version": 1, "images": [1]}', "p.json: images must map image names to lists of objects, got [1]"),
        ('{"version": 1, "objects": []}', "p.json: objects must be a list of objects, got []"),
        ('{"version": 1, "objects": {"box": [1, 2, 3, 4]}}', "p.json: objects must be a list of objects, got {"),
        ('{"version": 1, "version": 1}', "prompts: the key 'version' must be unique, got it twice"),
        (document("[1, 2]"), "p.json: images['a.png'][0] must be an object with points, box, label, got [1, 2]"),
        (
            document('{"box": [1, 2, 3, 4]}, {}'),
            "p.json: images['a.png'][1] must have points, a box or both, got neither; add one, or remove the object",
        ),
        (
            document('{"point": [[1, 2]]}'),
            "p.json: images['a.png'][0]: each key must be one of points, box, label, got 'point'; did you mean",
        ),
        (document('{"points": []}'), "p.json: images['a.png'][0].points must be a list of points, got []"),
        (document('{"points": {}}'), "p.json: images['a.png'][0].points must be a list of points, got {}"),
        (
            document('{"points": [[1, 2], [3]]}'),
            "p.json: images['a.png'][0].points[1] must be [x, y] or [x, y, label], got [3]; use numbers, in pixels",
        ),
        (document('{"points": [[1, NaN]]}'), "images['a.png'][0].points[0] must have finite numbers, got [1, NaN]"),
        (document('{"points": [[1, true]]}'), "images['a.png'][0].points[0] must have finite numbers, got [1, true]"),
        (document('{"points": [[1, "2"]]}'), "images['a.png'][0].points[0] must have finite numbers, got"),
        (document(f'{{"points": [[1, {"9" * 400}]]}}'), "images['a.png'][0].points[0] must have finite numbers"),
        (
            document('{"points": [[1, 2, 3]]}'),
            "p.json: images['a.png'][0].points[0]: the label must be 1 or 0, got 3; use 1 for foreground",
        ),
        (document('{"box": [1, 2, 3]}'), "p.json: images['a.png'][0].box must be [x1, y1, x2, y2], got [1, 2, 3]"),
        (document('{"box": null}'), "p.json: images['a.png'][0].box must be [x1, y1, x2, y2], got null"),
        ("[]", "p.json must have at least one mark, got an empty list; add a point or a rectangle"),
        ("[5]", "p.json[0] must be an object with type, data, label, got 5"),
        ('[{"type": "text", "data": "cat"}]', "p.json[0].type must be one of point, rectangle, got 'text'"),
        ('[{"type": "point", "data": [1, 2, 3]}]', "p.json[0].data must be [x, y], got [1, 2, 3]"),
        ('[{"type": "point", "data": [1, 2], "label": 5}]', "p.json[0]: the label must be 1 or 0, got 5"),
        ('[{"type": "rectangle"}]', "p.json[0].data must be [x1, y1, x2, y2], got null"),
        (
            '[{"type": "rectangle", "data": [1, 2, 3, 4]}, {"type": "rectangle", "data": [1, 2, 3, 4]}]',
            "p.json must have one rectangle at most, got a second one at p.json[1]; several boxes are several objects:",
        ),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_prompts(text, "p.json")
    assert message in str(caught.value)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(InputError) as caught:
        parse_prompts('{"version": 1, "objects": "' + "x" * 500 + '"}')
    assert len(str(caught.value)) < 150
