"""Keys, addresses and rates of ``mobilesam serve``, and its queue of several clients."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from mobilesam.errors import InputError
from mobilesam.serve.access import Rate, read_keys
from mobilesam.serve.workers import BusyError, StoppedError, Workers
from tests.serve.serving import serving

KEY = "0123456789abcdefABCDEF"


@pytest.mark.weights
def test_a_client_needs_a_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# of the annotators\n\n{KEY}\n", encoding="utf-8")
    other = "another-key-of-the-environment"
    with serving("--api-keys", str(file), "--rate", "2", environment={"MOBILESAM_API_KEYS": other}) as server:
        with httpx.Client(base_url=server.url) as client:
            for name, value in (("X-None", ""), ("Authorization", f"Bearer {KEY[:-1]}"), ("X-API-Key", "\xe4")):
                refused = client.get("/v1/models", headers=[(name.encode(), value.encode("latin-1"))])
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
                assert refused.json()["detail"].startswith("the API key must be one of this server, got another")
                assert KEY not in refused.text
            assert client.get("/health").status_code == 200, "load balancers have no key"
            body = client.post("/v1/images", content=b"x" * 1000)
            assert body.status_code == 401
        with httpx.Client(base_url=server.url, headers={"X-API-Key": other}) as client:
            assert client.get("/v1/models").status_code == 200
        with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
            responses = [client.get("/v1/models") for _ in range(12)]
            statuses = [response.status_code for response in responses]
            assert statuses[0] == 200
            assert statuses[-1] == 429, "a client may send 2 requests a second, and 4 at once"
            assert int(responses[-1].headers["retry-after"]) >= 1
            assert "Wait, and send fewer a second." in responses[-1].json()["detail"]


def test_without_keys_only_this_machine_is_served() -> None:
    command = [sys.executable, "-m", "mobilesam", "serve", "--host", "0.0.0.0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "error: --host must be 127.0.0.1 without API keys, got 0.0.0.0; add --api-keys FILE" in result.stderr


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"# none\n", "--api-keys must be a file with a key in each line"),
        (b"short\n", "an API key must have 16 printable ASCII characters, got one of 5 characters"),
        (b"\xff\xfe\x00\n", "--api-keys must be a text file"),
        (None, "--api-keys must be a text file"),
    ],
)
def test_bad_files_of_keys_are_refused(tmp_path: Path, content: bytes | None, text: str) -> None:
    file = tmp_path / "keys.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=text):
        read_keys(file)


def test_the_rate_of_a_client_recovers_and_others_are_not_affected() -> None:
    now = 0.0
    rate = Rate(2.0, lambda: now)
    assert [rate.wait("a") == 0 for _ in range(5)] == [True] * 4 + [False]
    assert rate.wait("b") == 0
    assert rate.wait("a") == pytest.approx(0.5)
    now = 0.6
    assert rate.wait("a") == 0
    assert rate.wait("a") > 0


def test_clients_take_turns() -> None:
    workers, begin, order = Workers(1, 100, "test"), threading.Event(), list[str]()
    first = workers.submit(begin.wait)
    while workers.position(first):
        pass
    jobs = [workers.submit(lambda: order.append("many"), "many") for _ in range(5)]
    one = workers.submit(lambda: order.append("one"), "one")
    assert (jobs[0].position(), one.position(), jobs[1].position(), jobs[4].position()) == (1, 2, 3, 6)
    jobs[2].future.cancel()
    assert jobs[4].position() == 5
    begin.set()
    for job in (first, one, *jobs[:2], *jobs[3:]):
        job.result()
    assert order == ["many", "one", "many", "many", "many"]
    assert workers.busy() == 0
    workers.close()


def test_a_full_queue_refuses_work_and_a_closed_one_ends_what_waits() -> None:
    workers, begin = Workers(1, 1, "test"), threading.Event()
    first = workers.submit(begin.wait)
    while workers.position(first):
        pass
    waiting = workers.submit(lambda: 1)
    assert workers.is_full
    with pytest.raises(BusyError, match="1 requests are waiting"):
        workers.submit(lambda: 2)
    workers.close(wait=False)
    with pytest.raises(StoppedError):
        waiting.result()
    with pytest.raises(StoppedError):
        workers.submit(lambda: 3)
    begin.set()
    assert first.result()
