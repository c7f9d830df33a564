"""What the server keeps: bounded caches, visitors behind tokens, the line before the model."""

from __future__ import annotations

import threading

import pytest

from mobilesam.webui.cache import ByteCache
from mobilesam.webui.session import Session
from mobilesam.webui.visitors import GoneError, Visitors
from mobilesam.webui.workers import BusyError, Workers


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


def test_a_visitor_is_found_by_its_token_only() -> None:
    visitors = Visitors()
    one, other = visitors.admit(Session("onnx")), visitors.admit(Session("torch"))
    assert one != other
    assert len(one) >= 20
    assert visitors.session(one).model == "onnx"
    for guess in ("", one[:-1], None, 3, ["x"]):
        with pytest.raises(GoneError, match=r"^The session expired\. Open the image again\.$"):
            visitors.session(guess)


def test_the_visitor_unused_for_longest_is_forgotten() -> None:
    visitors = Visitors(2)
    first, second = visitors.admit(Session("a")), visitors.admit(Session("b"))
    visitors.session(first)
    visitors.admit(Session("c"))
    assert visitors.session(first).model == "a"
    with pytest.raises(GoneError):
        visitors.session(second)


def test_a_step_that_fails_changes_nothing() -> None:
    visitors = Visitors()
    token = visitors.admit(Session("onnx"))

    def fail(state: Session) -> Session:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        visitors.change(token, fail)
    assert visitors.session(token) == Session("onnx")


def test_the_line_keeps_its_order_tells_places_and_is_bounded() -> None:
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


def test_who_leaves_the_line_makes_room() -> None:
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
