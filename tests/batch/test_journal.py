"""The journal: results survive, and its bytes depend on its content alone."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.batch.fingerprint import Fingerprint
from mobilesam.batch.journal import Journal, pack, unpack
from mobilesam.batch.journal_file import Planned
from mobilesam.batch.tasks import Outcome
from mobilesam.errors import InputError
from tests.formats.scenes import EMPTY, LABELLED, PHOTO, record

SOURCES = ["a.png", "b.png", "c.png"]
FINGERPRINT = Fingerprint(3, 2**70, "00")  # later than SQLite's largest number
ABOUT = {"version": 1, "formats": ["coco"]}


def open_journal(tmp_path, about=ABOUT, sources=SOURCES, **options):
    photos = [Planned(source, source.removesuffix(".png")) for source in sources]
    return Journal.open(tmp_path / "batch.sqlite", about, photos, **options)


def good(number, photo):
    return Outcome(number, pack(photo), fingerprint=FINGERPRINT)


def test_results_are_read_back_in_order(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.record(good(2, LABELLED))
        journal.record(Outcome(1, error="broken"))
        journal.record(good(0, PHOTO))
    with open_journal(tmp_path, resume=True) as journal:
        assert journal.done() == {0, 2}
        assert journal.bad() == [("b.png", "broken")]
        first, second = journal.results()
        assert (first, second) == (PHOTO, LABELLED)
        assert journal.fingerprints() == {0: FINGERPRINT, 2: FINGERPRINT}
        assert journal.result(2) == LABELLED
        journal.record(good(1, EMPTY))
        assert journal.bad() == []
        journal.reopen([0, 1])
        assert journal.done() == {2}


def test_scores_are_read_back_exactly():
    odd = PHOTO._replace(records=[record(np.eye(3) > 0, predicted_iou=1 / 3)])
    assert unpack(pack(odd)).records[0]["predicted_iou"] == 1 / 3


def test_a_finished_journal_is_the_same_whatever_happened(tmp_path):
    outcomes = [good(0, PHOTO), Outcome(1, error="broken"), good(2, EMPTY)]
    contents = set()
    for name, steps in {"straight": [outcomes], "resumed": [outcomes[2:], outcomes[:0:-1], outcomes[:2]]}.items():
        for step in steps:
            (tmp_path / name).mkdir(exist_ok=True)
            with open_journal(tmp_path / name, resume=True) as journal:
                journal.make_folder()
                for outcome in step:
                    journal.record(outcome)
                journal.close_finished()
        contents.add((tmp_path / name / "batch.sqlite").read_bytes())
        assert [path.name for path in (tmp_path / name).iterdir()] == ["batch.sqlite"]
    assert len(contents) == 1


def test_another_run_is_refused(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.record(good(0, PHOTO))
    for options, message in (
        (
            {"about": ABOUT | {"formats": ["csv"]}, "resume": True},
            r"^The run in .* cannot be resumed: formats was \['coco'\] and is now \['csv'\]\. Choose another --out,",
        ),
        (
            {"sources": ["a.png", "b.png", "new.png"], "resume": True},
            r"resumed: it has 3 images, not these 3; the first difference is c\.png\. .* start again with --force\.$",
        ),
    ):
        with pytest.raises(InputError, match=message):
            open_journal(tmp_path, **options)
    with open_journal(tmp_path) as journal:
        assert journal.done() == set()
    (tmp_path / "batch.sqlite").write_bytes(b"no database, and long enough to be read as one" * 9)
    for options in ({"resume": True}, {}):
        with pytest.raises(
            InputError, match=r"^batch\.sqlite in .* is not a journal of mobilesam\. Choose another --out"
        ):
            open_journal(tmp_path, **options)
