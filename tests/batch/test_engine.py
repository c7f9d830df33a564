"""The pipeline and the worker processes: every task has one outcome, whatever fails."""

from __future__ import annotations

import pytest

from mobilesam.batch.pipeline import AHEAD, NoTaskYet, run_pipeline, take_from
from mobilesam.batch.processes import run_in_processes, run_work
from mobilesam.errors import InputError
from tests.batch.works import BrokenWork, NameWork, killed_while_made, tasks


def test_outcomes_are_in_order_and_bad_images_have_reasons():
    done = list(run_pipeline(NameWork(), take_from(tasks("a", "bad", "slow", "large", "many", "b"))))
    assert [outcome.number for outcome in done] == [0, 1, 2, 3, 4, 5]
    assert [outcome.result for outcome in done] == [b"A", b"", b"SLOW", b"", b"", b"B"]
    reasons = [outcome.error for outcome in done]
    assert reasons[1] == "image must be an image, got none; get it again"
    assert reasons[3:5] == ["the image does not fit into memory", "too many masks"]


def test_only_a_few_images_are_open_at_once():
    work = NameWork()
    assert len(list(run_pipeline(work, take_from(tasks(*["slow"] * 40))))) == 40
    assert 2 <= work.open_most <= 2 * AHEAD + 1


def test_outcomes_are_yielded_before_the_next_task_arrives():
    """Otherwise a worker that receives a task for each outcome would wait forever."""
    given, come = iter(tasks("a", "b", "c")), []

    def take(wait):
        if not wait:
            raise NoTaskYet
        assert len(come) == next(counted), "the outcome of the previous task has not been yielded"
        return next(given, None)

    counted = iter(range(9))
    for outcome in run_pipeline(NameWork(), take):
        come.append(outcome.number)
    assert come == [0, 1, 2]


def test_warnings_name_the_image_except_those_of_formats():
    done = list(run_pipeline(NameWork(), take_from(tasks("warned", "a", "lossy", "lossy"))))
    texts = [text for outcome in done for text in outcome.warnings]
    assert set(texts) == {"warned: a box lies outside", "holes are lost"}


def test_a_file_that_cannot_be_written_ends_the_run():
    for run in (run_pipeline(NameWork(), take_from(tasks("a", "full"))), run_in_processes(NameWork, tasks("full"), 1)):
        with pytest.raises(InputError, match="no space"):
            list(run)


def test_a_killed_worker_loses_only_the_deadly_image():
    names = [*"abcdefgh", "deadly", *"ijkl"]
    done = list(run_in_processes(NameWork, tasks(*names), 2))
    assert sorted(outcome.number for outcome in done) == list(range(len(names)))
    for outcome in done:
        if names[outcome.number] == "deadly":
            reason = "The worker process exited while processing deadly (signal 9, probably out of memory)."
            assert outcome.error == f"{reason} Use fewer workers or a smaller image."
        else:
            assert outcome.result == names[outcome.number].upper().encode()


def test_work_that_cannot_be_made_is_an_error():
    with pytest.raises(InputError, match="the model cannot be loaded"):
        list(run_work(BrokenWork, tasks("a", "b"), 2))
    with pytest.raises(
        InputError, match=r"^A worker process exited while loading the model \(exit code 3\)\. Use fewer --workers if"
    ):
        list(run_work(killed_while_made, tasks("a", "b"), 2))
