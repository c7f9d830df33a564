"""Names of output files never collide, and never hit an image that is read."""

from pathlib import Path

import pytest

from mobilesam.errors import InputError
from mobilesam.formats.image_files import ImageFiles
from mobilesam.formats.naming import Names, name_outputs, refuse_overwriting
from mobilesam.prompts.object_prompt import ObjectPrompt

FORMATS = ("overlay", "mask", "cutout")


def planned(names: Names, objects: int, ranks: int) -> list[Path]:
    prompts = [ObjectPrompt(box=(1, 2, 3, 4))] * objects
    return list(ImageFiles(names, FORMATS, False, "", "", prompts=prompts, masks_per_object=ranks).planned())


def test_names_say_object_and_rank() -> None:
    names = Names(Path("out"), "cat")
    assert names.path("mask") == Path("out/cat-mask.png")
    assert names.path("mask", 1) == Path("out/cat-mask-2.png")
    assert names.path("mask", 1, 2) == Path("out/cat-mask-2-alt3.png")
    assert names.path("overlay", rank=1) == Path("out/cat-overlay-alt2.png")


def test_all_names_are_one_overlay_a_rank_and_one_mask_an_object_and_rank() -> None:
    paths = planned(Names(Path("out"), "cat"), objects=2, ranks=3)
    assert len(paths) == len(set(paths)) == 3 + 6 + 6


@pytest.mark.parametrize(
    "sources",
    [
        ["a/cat.jpg", "b/cat.png", "cat.webp"],
        ["cat.jpg", "cat-2.jpg", "x/cat.jpg", "x/cat-2.jpg"],
        ["cat-2.jpg", "cat.jpg", "b/cat.jpg"],
        ["Cat.jpg", "b/cat.jpg"],
        ["cat.jpg", "cat-mask.jpg", "cat-mask-2.jpg", "cat-overlay.jpg"],
        ["-", "stdin.jpg"],
    ],
)
def test_no_two_photos_share_a_name(sources: list[str]) -> None:
    names = name_outputs(sources, Path("out"))
    paths = [str(path).casefold() for name in names for path in planned(name, objects=3, ranks=3)]
    assert len(paths) == len(set(paths))
    assert names[0].stem == ("stdin" if sources[0] == "-" else Path(sources[0]).stem)


def test_the_second_of_a_name_is_numbered() -> None:
    assert [name.stem for name in name_outputs(["a/cat.jpg", "b/cat.jpg"], Path())] == ["cat", "cat-2"]


def test_a_photo_that_is_read_is_never_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "cat-mask.png"
    source.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"output file must not be a file that is read, got .*cat-mask\.png;"):
        refuse_overwriting([tmp_path / "x" / ".." / "cat-mask.png"], [str(source)], force=True)


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "cat-mask.png"
    path.touch()
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*cat-mask\.png;.*--force"):
        refuse_overwriting([path], ["cat.jpg"], force=False)
    refuse_overwriting([path], ["cat.jpg"], force=True)
