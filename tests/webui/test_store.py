"""What the server keeps: bounded caches, sessions by token, the queue of the workers."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from mobilesam.serve.cache import ByteCache
from mobilesam.serve.workers import BusyError, Workers
from mobilesam.webui.session import Session
from mobilesam.webui.session_store import SessionExpiredError, SessionStore


def test_the_least_recently_used_goes_first() -> None:
    cache: ByteCache[str] = ByteCache(30)
    for key in "abc":
        cache.put(key, key, 10)
    cache.get("a")
    cache.put("d", "d", 10)
    assert [cache.get(key) for key in "abcd"] == ["a", None, "c", "d"]
    assert cache.used == 30


def test_a_value_put_again_counts_once_and_the_newest_stays_however_large() -> None:
    cache: ByteCache[str] = ByteCache(30)
    cache.put("a", "old", 10)
    cache.put("a", "new", 20)
    assert (cache.get("a"), cache.used) == ("new", 20)
    cache.put("b", "huge", 100)
    assert (cache.get("a"), cache.get("b"), len(cache)) == (None, "huge", 1)


def test_a_session_is_found_by_its_token_only() -> None:
    sessions = SessionStore()
    one, other = sessions.create(Session("onnx")), sessions.create(Session("torch"))
    assert one != other
    assert len(one) >= 20
    assert sessions.get(one).model == "onnx"
    for guess in ("", one[:-1], None, 3, ["x"]):
        with pytest.raises(SessionExpiredError, match=r"^The session expired\. Open the image again\.$"):
            sessions.get(guess)


def test_the_least_recently_used_session_is_dropped() -> None:
    sessions = SessionStore(2)
    first, second = sessions.create(Session("a")), sessions.create(Session("b"))
    sessions.get(first)
    sessions.create(Session("c"))
    assert sessions.get(first).model == "a"
    with pytest.raises(SessionExpiredError):
        sessions.get(second)


def test_a_step_that_fails_changes_nothing() -> None:
    sessions = SessionStore()
    token = sessions.create(Session("onnx"))

    def fail(state: Session) -> Session:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        sessions.change(token, fail)
    assert sessions.get(token) == Session("onnx")


def test_the_queue_keeps_its_order_knows_places_and_is_bounded() -> None:
    workers = Workers(1, 2, "test")
    go, begun = threading.Event(), threading.Event()
    done: list[int] = []

    def block() -> None:
        begun.set()
        go.wait(10)

    running = workers.submit(block)
    assert begun.wait(10)
    waiting = [workers.submit(lambda number=number: done.append(number)) for number in (1, 2)]
    assert [job.position() for job in (running, *waiting)] == [0, 1, 2]
    assert workers.busy() == 3
    with pytest.raises(BusyError, match=r"^The server is busy: 2 requests are waiting\. Try again in a moment\.$"):
        workers.submit(lambda: None)
    go.set()
    for job in waiting:
        job.result()
    assert done == [1, 2]
    assert waiting[1].position() == 0
    workers.close()


def test_a_canceled_job_makes_room() -> None:
    workers = Workers(1, 1, "test")
    go, begun = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        go.wait(10)

    running = workers.submit(block)
    assert begun.wait(10)
    assert workers.submit(lambda: None).future.cancel()
    assert workers.submit(lambda: None).position() == 1
    go.set()
    running.result()
    workers.close()


def test_results_and_what_failed_are_freed_at_once() -> None:
    """Without the garbage collector, which runs too seldom for results of megabytes."""
    workers = Workers(1, 1, "test")
    made: list[weakref.ref[object]] = []

    def large() -> object:
        values = np.zeros(10)
        made.append(weakref.ref(values))
        return values

    def fail() -> None:
        values = large()
        raise ValueError(f"no {values}")

    gc.collect()
    gc.disable()
    try:
        workers.run(large)
        with pytest.raises(ValueError, match="no") as failure:
            workers.run(fail)
        del failure
        workers.run(lambda: None)  # the thread has left the work before
        assert [each() for each in made] == [None, None]
    finally:
        gc.enable()
        workers.close()
