"""Clients that stall, flood or send too much are limited, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from benchmarks.page_client import Client
from tests.robustness.server_client import connect, post, received, serving, status

pytestmark = pytest.mark.weights

LARGE = 20_000_000
END = b"3\r\nend\r\n0\r\n\r\n"  # of a response in chunks
FORM = "Content-Type: multipart/form-data; boundary=x\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.bin"\r\n\r\n'


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with serving("--max-upload-mb", "2") as running:
        yield running


@pytest.fixture
def client(server: Any) -> Client:
    client = Client(server.url)
    client.hello()
    return client


@pytest.fixture(scope="module")
def cat(photo: Callable[[str], Path]) -> bytes:
    return photo("chelsea.png").read_bytes()


def get(url: str, path: str) -> bytes:
    """Return a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode()


def resident(process: Any) -> int:
    """Return the bytes of memory that a process has."""
    text = Path(f"/proc/{process.pid}/statm")
    if not text.exists():
        pytest.skip("needs /proc")
    return int(text.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_client_is_served_while_others_are_refused_and_200_uploads_stall(
    server: Any, client: Client, cat: bytes
) -> None:
    assert client.open(cat)["done"]["image"]["width"] == 451
    before = resident(server.process)
    with contextlib.ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(connect(server.url))
            path, headers = (
                ("/gradio_api/upload", FORM) if number % 2 else ("/service/image", f"X-Session: {client.token}\r\n")
            )
            connection.sendall(post(server.url, path, headers, 2_000_000) + PART + bytes(1_000_000))
            if number % 4 == 0:
                head = post(server.url, "/service/image", "", 0)
                stack.enter_context(connect(server.url)).sendall(head[:-10])
        for number in range(20):
            evil = {"Host": "evil.example"} if number % 2 else {"Origin": "http://evil.example"}
            assert Client(server.url, **evil).call_raw("hello", {}).status_code == (421 if number % 2 else 403)
            assert len(client.point(150 + number, 100)["masks"]) == 3
        assert client.open(cat)["done"]["image"]
        form = {"files": ("cat.png", cat)}
        assert client.request("POST", "/gradio_api/upload", files=form).status_code == 200
        health = client.health()
        assert health["receiving"] <= 128
        assert health["received_mb"] <= 8 * 2.1
        assert resident(server.process) - before < 200_000_000  # less than what the stalled clients have sent


@pytest.mark.parametrize("path", ["/service/image", "/gradio_api/upload", "/gradio_api/component_server", "/login"])
def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(path: str, server: Any, client: Client) -> None:
    limit = 2 if path in ("/service/image", "/gradio_api/upload") else 1
    message = "the file must have at most 2 MB" if limit == 2 else "the request body must have at most 1000000 bytes"
    headers = {"X-Session": client.token, "Content-Type": "multipart/form-data; boundary=x"}
    parts = [PART, *[bytes(500_000)] * (2 * limit + 1), b"\r\n--x--\r\n"]
    for content in (b"".join(parts), iter(parts)):
        response = client.request("POST", path, content=content, headers=headers)
        assert (response.status_code, message in response.json()["error"]) == (413, True)
    assert client.health()["received_mb"] == 0


def test_the_folder_of_uploads_is_bounded_and_not_shared(client: Client) -> None:
    def upload(fill: int) -> Any:
        return client.request("POST", "/gradio_api/upload", files={"files": ("a.bin", bytes([fill]) * 1_900_000)})

    before = client.health()["uploads_mb"]
    stored = []
    while (response := upload(len(stored))).status_code == 200:
        stored += response.json()
        assert len(stored) < 12
    assert (response.status_code, len(stored)) == (503, (20_000_000 - int(before * 1e6)) // 1_900_300)
    assert "The upload folder of the server is full: it has " in response.json()["error"]
    assert re.search(r" of 20 MB in \d+ of 1000 files\. Try again later", response.json()["error"])
    assert "files are deleted after 10 minutes" in response.json()["error"]
    folder = Path(stored[0]).parent.parent
    assert folder.stat().st_mode & 0o077 == 0, "nobody else on this machine reads it"
    assert client.open(b"x")["error"], "the page itself does not use the folder"


def test_a_form_that_gradio_does_not_accept_is_deleted_in_time(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from mobilesam.errors import MobileSamError
    from mobilesam.webui.uploads import MAX_FILES, UploadFolder

    folder = UploadFolder(100)
    try:
        old, new = folder.path / "tmpold", folder.path / "digest" / "new.png"
        new.parent.mkdir()
        for path in (old, new):
            path.write_bytes(bytes(40))
        os.utime(old, (1, 1))
        assert folder.used() == (40, 1)
        assert not old.exists()
        empty, fresh = folder.path / "empty", folder.path / "fresh"
        for path in (empty, fresh):
            path.mkdir()
        for path in (empty, new.parent):
            os.utime(path, (1, 1))
        assert folder.used() == (40, 1)
        assert (empty.exists(), fresh.exists(), new.exists()) == (False, True, True)
        folder.check(60)
        with pytest.raises(MobileSamError, match=r"it has 0\.0 of 0 MB in 1 of 1000 files"):
            folder.check(61)
        for number in range(MAX_FILES - 1):
            (folder.path / str(number)).touch()
        with pytest.raises(MobileSamError, match="in 1000 of 1000 files"):
            folder.check(1)
    finally:
        folder.close()
    assert not folder.path.exists()


def test_prompts_and_objects_leave_nothing_on_the_server(client: Client, cat: bytes) -> None:
    client.open(cat)
    before = client.health()["sessions_mb"]
    points = [[index % 451 + 0.125, index % 300 + 0.125, 1] for index in range(256)]
    assert client.post("predict", prompt={"points": points}).status_code == 200
    frozen = client.freeze(172, 107)
    assert client.post("save/mask", objects=[frozen] * 500).status_code == 200
    assert client.health()["sessions_mb"] == before


def test_objects_have_a_limit_of_their_own(server: Any, client: Client, cat: bytes) -> None:
    client.open(cat)
    for path, most in (("save/mask", 16_000_000), ("predict", 1_000_000)):
        headers = f"X-Session: {client.token}\r\n"
        with connect(server.url) as connection:
            connection.sendall(post(server.url, f"/service/{path}", headers, most + 1))
            response = b""
            while b"}" not in response:
                response += connection.recv(65536)
        assert response.startswith(b"HTTP/1.1 413")
        assert f"the request body must have at most {most} bytes".encode() in response
    frozen = json.dumps(client.freeze(172, 107))
    body = f'{{"objects": [{", ".join([frozen] * 2000)}]}}'
    assert len(body) > 1_000_000
    headers = {"X-Session": client.token}
    assert client.request("POST", "/service/save/coco", content=body, headers=headers).status_code == 200
    with connect(server.url) as connection:
        connection.sendall(post(server.url, "/service/save/mask", "X-Session: guess\r\n", 1_000_000))
        assert status(connection) == 410, "before the body is received"


def test_an_image_for_an_unknown_token_is_refused_before_it_is_received(server: Any) -> None:
    with connect(server.url) as connection:
        connection.sendall(post(server.url, "/service/image", "X-Session: guess\r\n", 1_000_000))
        assert status(connection) == 410


def test_health_reports_the_memory_of_sessions(server: Any, cat: bytes) -> None:
    client = Client(server.url)
    before = client.health()
    client.hello()
    client.open(cat)
    assert client.post("everything", mode="fast").status_code == 200
    after = client.health()
    assert after["sessions"] == before["sessions"] + 1
    assert 0 <= after["sessions_mb"] - before["sessions_mb"] < 1, "the segments"


@pytest.mark.parametrize("path", ["heartbeat/x", "upload_progress?upload_id=x"])
def test_routes_of_gradio_that_hold_connections_are_not_offered(path: str, client: Client) -> None:
    assert client.request("GET", f"/gradio_api/{path}").status_code == 404


HOSTILE: dict[str, Any] = {
    "a number beyond all floats": {"prompt": {"points": [[10**400, 1, 1]]}},
    "a number beyond all floats in a box": {"prompt": {"box": [1, 2, 10**400, 3]}},
    "half of a surrogate pair": {"prompt": {"points": "\ud800"}},
    "an object as a label": {"prompt": {"points": [[1, 1, {"label": 1}]]}},
    "an index without end": {"prompt": {"points": [[1, 1, 1]], "chosen": 10**400}},
    "no prompt": {"prompt": None},
    "a prompt of nothing": {"prompt": {}},
    "steps in steps": {"prompt": {"points": [[1, 1, 1]], "steps": [{"steps": [{}]}]}},
    "too many points": {"prompt": {"points": [[1, 1, 1]] * 257}},
    "points out of the image": {"prompt": {"points": [[451, 1, 1]]}},
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("path", ["predict", "freeze"])
def test_hostile_requests_get_a_message(what: str, path: str, client: Client, cat: bytes) -> None:
    client.open(cat)
    response = client.post(path, **HOSTILE[what])
    assert (response.status_code, " must " in response.json()["error"]) == (400, True), response.text
    assert "failed on the server" not in response.json()["error"]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_json_does_not_have_are_refused(number: bytes, client: Client, cat: bytes) -> None:
    client.open(cat)
    for path, body in (
        ("predict", b'{"prompt": {"points": [[%s, 1, 1]]}}'),
        ("save/coco", b'{"objects": [{"segmentation": {"size": [300, 451], "counts": "1"}, "predicted_iou": %s}]}'),
    ):
        headers = {"X-Session": client.token}
        response = client.request("POST", f"/service/{path}", content=body % number, headers=headers)
        assert (response.status_code, " must " in response.json()["error"]) == (400, True), response.text


def test_json_without_end_is_refused(client: Client) -> None:
    deep = b"[" * 400_000 + b"]" * 400_000
    headers = {"X-Session": client.token, "Content-Type": "application/json"}
    response = client.request("POST", "/service/save/mask", content=deep, headers=headers)
    assert (response.status_code, "the request body must be JSON" in response.json()["error"]) == (400, True)
    nested = b'{"data": ["%s", %s, null]}' % (client.token.encode(), b"[" * 500 + b"]" * 500)
    begun = client.request("POST", "/gradio_api/call/predict", content=nested, headers=headers)
    text = client.request("GET", f"/gradio_api/call/predict/{begun.json()['event_id']}").text
    assert "an argument must be nested at most 32 levels deep" in text


def animation_with_a_damaged_frame() -> bytes:
    frames = [Image.fromarray(np.full((40, 60, 3), shade, np.uint8)) for shade in (10, 120, 240)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    content = bytearray(buffer.getvalue())
    second = int.from_bytes(content[4:8], "little")
    after = second + 2 + 12 * int.from_bytes(content[second : second + 2], "little")
    content[after : after + 4] = (len(content) - 7).to_bytes(4, "little")  # where no directory of a frame is
    return bytes(content)


def test_an_image_with_a_damaged_later_frame_is_opened(client: Client) -> None:
    content = animation_with_a_damaged_frame()
    with Image.open(io.BytesIO(content)) as image, pytest.raises(Exception):  # noqa: B017, PT011, PT012
        image.load()
        _ = image.n_frames  # type: ignore[attr-defined]
    done = client.open(content)["done"]
    assert done["image"]["note"] == ""  # the later frames cannot be counted


def test_too_little_memory_is_reported_and_the_server_goes_on(cat: bytes) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("needs prlimit")
    buffer = io.BytesIO()
    Image.new("RGB", (9000, 5000)).save(buffer, "PNG", compress_level=1)
    with serving() as server:
        client = Client(server.url)
        client.hello()
        client.open(cat)
        used = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (used + 60_000_000, resource.RLIM_INFINITY))
        response = client.open(buffer.getvalue())
        assert response["error"] == "Not enough memory to decode data. Shrink the image, or close other programs."
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert len(client.point(172, 107)["masks"]) == 3


# Deadlines: the same classes in a server of this process, with shorter timeouts --------------------------------------


class Impatient(NamedTuple):
    """closed: released once for each connection that the server closes."""

    url: str
    closed: threading.Semaphore


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Impatient]:
    pytest.importorskip("gradio")
    import uvicorn

    from mobilesam.serve import bodies, connections

    monkeypatch.setattr(connections, "IDLE_TIMEOUT", 0.3)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(bodies, "_IDLE", 0.3)
    monkeypatch.setattr(bodies, "_WHOLE", 1.0)
    monkeypatch.setattr(bodies, "MAX_BODIES", 2)

    released = asyncio.Event()

    async def stream(path: str, send: Any) -> None:
        """Respond in parts: "/stream" with many, "/hold" with none until "/release" is asked for."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(LARGE // 10_000 if path == "/stream" else 1):
            await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
        if path == "/hold":
            await released.wait()
        await send({"type": "http.response.body", "body": b"end"})

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in ("/stream", "/hold"):
            await stream(scope["path"], send)
            return
        if scope["path"] == "/release":
            released.set()
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        body = bytes(LARGE) if scope["path"] == "/large" else json.dumps({"size": size}).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    closed = threading.Semaphore(0)

    class Connection(connections.Connection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            closed.release()

    store = bodies.BodyStore(bodies.Rules(1))
    config = uvicorn.Config(bodies.Bodies(echo, store), http=Connection, lifespan="off", log_level="error", port=0)
    ready = threading.Event()

    class Ready(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready.set()

        async def shutdown(self, sockets: Any = None) -> None:
            released.set()
            await super().shutdown(sockets)

    server = Ready(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield Impatient(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", closed)
    finally:
        server.should_exit = True
        thread.join()
    assert (store.held, store.receiving) == (0, 0)


def test_headers_that_do_not_come_are_not_waited_for(impatient: Impatient) -> None:
    for begun in (b"", b"GET / HTTP/1.1\r\nHos", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"):
        with connect(impatient.url) as connection:
            connection.sendall(begun)
            assert received(connection).count(b'{"size": 0}') == begun.count(b"\r\n\r\n")


def test_a_body_that_stalls_is_refused_and_its_connection_closed(impatient: Impatient) -> None:
    with connect(impatient.url) as connection:
        connection.sendall(post(impatient.url, "/service/image", "", 1000) + b"abc")
        response = received(connection)
    assert response.startswith(b"HTTP/1.1 408")
    assert b"The request body did not arrive in time. Send the request again." in response


def test_a_body_that_trickles_has_a_deadline_too(impatient: Impatient) -> None:
    with connect(impatient.url) as connection:
        connection.sendall(post(impatient.url, "/service/image", "", 1000))
        connection.settimeout(0.1)
        response = b""
        while not response:
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                response = connection.recv(65536)
    assert response.startswith(b"HTTP/1.1 408")


def test_a_small_body_does_not_give_way_for_memory() -> None:
    """A click whose body has not come yet is not dropped for uploads that fill the memory meanwhile."""
    pytest.importorskip("gradio")
    from mobilesam.serve import bodies

    async def receive() -> list[bool]:
        store = bodies.BodyStore(bodies.Rules(1))
        click, uploads = bodies._Body(), [bodies._Body() for _ in range(12)]
        store.add(click, b"{")
        for upload in uploads:
            store.add(upload, bytes(1_000_000))
        assert store.held <= 8 * 1_100_000
        dropped = [body.dropped.done() for body in (click, *uploads)]
        store.close()
        return dropped

    with ThreadPoolExecutor(1) as thread:  # the loop of a browser may run in this one
        received = thread.submit(asyncio.run, receive()).result()
    assert received == [False] + [True] * 4 + [False] * 8


def test_the_body_that_has_stalled_for_longest_gives_way(impatient: Impatient) -> None:
    with connect(impatient.url) as first, connect(impatient.url) as second, connect(impatient.url) as third:
        for connection in (first, second, third):
            connection.sendall(post(impatient.url, "/service/image", "Expect: 100-continue\r\n", 1))
            assert status(connection) == 100, "it is being received"
        assert status(first) == 503
        for connection in (second, third):
            connection.sendall(b"x")
            assert status(connection) == 200


def test_a_new_connection_takes_the_place_of_one_that_waits(impatient: Impatient) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(impatient.url)) for _ in range(6)]
        assert received(waiting[0]) == b""
        with connect(impatient.url) as client:
            client.sendall(post(impatient.url, "/", "", 0))
            assert status(client) == 200


def test_a_new_connection_takes_the_place_of_the_oldest_response_if_all_are_in_progress(impatient: Impatient) -> None:
    with contextlib.ExitStack() as stack:
        oldest, *_ = clients = [stack.enter_context(connect(impatient.url)) for _ in range(4)]
        for client in clients:
            client.sendall(get(impatient.url, "/hold"))
            assert status(client) == 200
        with connect(impatient.url) as client:
            client.sendall(post(impatient.url, "/", "", 0))
            assert status(client) == 200
        assert not received(oldest).endswith(END)


def test_a_request_that_changes_something_is_closed_last(impatient: Impatient) -> None:
    with contextlib.ExitStack() as stack:
        working = stack.enter_context(connect(impatient.url))
        working.sendall(post(impatient.url, "/hold", "", 0))
        assert status(working) == 200
        for _ in range(8):
            client = stack.enter_context(connect(impatient.url))
            client.sendall(get(impatient.url, "/hold"))
            assert status(client) == 200
        with connect(impatient.url) as client:
            client.sendall(get(impatient.url, "/release"))
            assert status(client) == 200
        assert received(working).endswith(END)


def test_a_response_that_the_server_has_yet_to_write_is_waited_for(impatient: Impatient) -> None:
    with connect(impatient.url) as slow:
        slow.sendall(get(impatient.url, "/hold"))
        for _ in range(3):
            with connect(impatient.url) as idle:
                assert received(idle) == b"", "it is closed, after the same time"
        with connect(impatient.url) as client:
            client.sendall(get(impatient.url, "/release"))
            assert status(client) == 200
        assert received(slow).endswith(END)


@pytest.mark.parametrize("path", ["/large", "/stream"])
def test_a_response_that_is_not_read_does_not_hold_the_connection(path: str, impatient: Impatient) -> None:
    with connect(impatient.url) as client, connect(impatient.url) as other:
        for connection in (other, client):
            connection.sendall(post(impatient.url, path, "", 0))
        assert len(received(client)) > LARGE
        assert all(impatient.closed.acquire(timeout=60) for _ in range(2))
        assert len(received(other)) < LARGE
