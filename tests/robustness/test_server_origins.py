"""Other web pages, foreign names and other servers on this machine cannot use the server; its own page can."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.page_client import Client
from tests.robustness.server_client import connect, post, serving, status

pytestmark = pytest.mark.weights

FORM = {"files": ("cat.png", b"not an image")}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

HELLO = {"fn_name": "hello", "component_id": 1, "session_hash": "x", "data": {}}
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "/": ("POST", {"json": {}}),
    "/config": ("GET", {}),
    "/health": ("GET", {}),
    "/login": ("POST", {"data": {"username": "a", "password": "b"}}),
    "/logout": ("GET", {}),
    "/gradio_api/component_server": ("POST", {"json": HELLO}),
    "/gradio_api/upload": ("POST", {"files": FORM}),
    "/gradio_api/call/encode": ("POST", {"json": {"data": [None, None]}}),
    "/gradio_api/queue/join": ("POST", {"json": {"data": [], "fn_index": 0, "session_hash": "x"}}),
    "/gradio_api/queue/data?session_hash=x": ("GET", {}),
    "/gradio_api/heartbeat/x": ("GET", {}),
    "/gradio_api/info": ("GET", {}),
    "/service/static/page.js": ("GET", {}),
    "/service/image": ("POST", {"content": b"x"}),
    "/service/save/mask": ("POST", {"json": {}}),
    "/service/predict": ("POST", {"json": {}}),
    "/service/freeze": ("POST", {"json": {}}),
    "/service/everything": ("POST", {"json": {}}),
    "/service/cancel": ("POST", {"json": {}}),
    "/service/preview": ("GET", {}),
    "/service/crop?x=0&y=0&width=1&height=1&side=1": ("GET", {}),
    "/service/samples/cat.jpg": ("GET", {}),
}
FOREIGN = {
    "another web page": ({"Origin": "https://evil.example"}, 403, "Origin must be this server"),
    "a page from a file": ({"Origin": "null"}, 403, "Origin must be this server"),
    "another server on this machine": ({"Origin": "http://127.0.0.1:1"}, 403, "Origin must be this server"),
    "a name that begins like ours": ({"Origin": "http://127.0.0.1.evil.example"}, 403, "Origin must be this server"),
    "a name made to resolve to this machine": ({"Host": "evil.example"}, 421, "Host must be localhost or"),
    "a name in an address": ({"Host": "127.0.0.1@evil.example"}, 421, "Host must be localhost or"),
    "an image of another site": ({"Sec-Fetch-Site": "cross-site"}, 403, "Sec-Fetch-Site must be same-origin"),
    "a page of the same site": ({"Sec-Fetch-Site": "same-site"}, 403, "Sec-Fetch-Site must be same-origin"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with serving() as running:
        yield running


@pytest.mark.parametrize("who", FOREIGN)
def test_others_are_refused_on_every_route_and_leave_nothing(who: str, server: Any) -> None:
    headers, code, message = FOREIGN[who]
    client = Client(server.url)
    before = client.health()
    for path, (method, options) in ROUTES.items():
        response = client.request(method, path, headers=headers, **options)
        assert (path, response.status_code) == (path, code)
        assert response.json()["error"].startswith(message)
        assert "access-control-allow-origin" not in response.headers
    assert client.health() == before
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    response = client.request("OPTIONS", "/gradio_api/component_server", headers=preflight)
    assert (response.status_code, "access-control-allow-origin" in response.headers) == (403, False)


def test_a_websocket_of_another_page_is_refused(server: Any) -> None:
    with connect(server.url) as connection:
        upgrade = "Origin: http://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        connection.sendall(post(server.url, "/gradio_api/queue/data?session_hash=x", upgrade, 0))
        assert status(connection) == 403


def test_the_page_itself_and_scripts_pass(server: Any) -> None:
    port = server.url.rpartition(":")[2]
    names = [f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", "127.0.0.1"]
    for name in names:
        own = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
        for headers in ({"Host": name}, own):
            client = Client(server.url, **headers)
            assert client.hello()
            assert client.request("POST", "/gradio_api/upload", files=FORM).status_code == 200


def test_a_link_on_another_site_opens_the_page_and_nothing_else(server: Any) -> None:
    client = Client(server.url)
    assert client.request("GET", "/", headers=LINK).status_code == 200
    assert client.request("GET", "/?view=api", headers=LINK).status_code == 200
    for path in ("/config", "/gradio_api/heartbeat/x", "/logout", "/service/preview"):
        assert client.request("GET", path, headers=LINK).status_code == 403
    assert client.request("POST", "/", headers=LINK).status_code == 403
    assert client.request("GET", "/", headers=LINK | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


EVIL = """
<!doctype html><a href="URL/">the page</a><img src="URL/service/static/missing.png">
<script type="module">
const form = new FormData();
form.append("files", new Blob(["x".repeat(100000)]), "evil.bin");
const hello = JSON.stringify({fn_name: "hello", component_id: 1, session_hash: "evil", data: {}});
const send = (path, body) => fetch("URL" + path, {method: "POST", mode: "no-cors", body});
const sent = [send("/gradio_api/upload", form)];
for (let count = 0; count < 20; count++) sent.push(send("/gradio_api/component_server", hello));
const done = await Promise.allSettled(sent);
document.title = done.map((one) => one.status).join(" ");
</script>
"""


@pytest.fixture
def evil(server: Any, tmp_path: Path) -> Iterator[str]:
    """Another web server on this machine, whose page attacks ours."""
    (tmp_path / "index.html").write_text(EVIL.replace("URL", server.url), encoding="utf-8")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield f"http://localhost:{other.server_port}/"
        other.shutdown()
        thread.join()


def test_a_hostile_page_in_a_real_browser_reaches_nothing_but_its_link_works(
    server: Any, evil: str, browser: Any
) -> None:
    client = Client(server.url)
    before = client.health()
    context = browser.new_context()
    page = context.new_page()
    page.goto(evil)
    page.wait_for_function("() => document.title.includes('fulfilled')")
    assert page.title() == " ".join(["fulfilled"] * 21), "the browser sent them all"
    assert client.health() == before
    page.click("a")
    page.wait_for_selector('.mobilesam[data-state="empty"]')
    assert page.url.startswith(server.url)
    assert client.health()["sessions"] == before["sessions"] + 1
    context.close()


def refused(hosts: Any, **headers: str) -> int:
    from mobilesam.serve import guard

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/service/image", "headers": raw}
    response = guard.refusal(scope, hosts)
    return response[0] if response else 0


@pytest.fixture
def hosts() -> Callable[..., Any]:
    pytest.importorskip("gradio")
    from mobilesam.serve.guard import Hosts

    return Hosts.of


def test_a_proxy_is_allowed_by_its_name(hosts: Any) -> None:
    proxied = hosts("127.0.0.1", ["Demo.example"])
    assert not refused(proxied, host="demo.example", origin="https://demo.example")
    assert not refused(proxied, host="127.0.0.1:7860", origin="https://demo.example"), "it changes the Host"
    assert not refused(proxied, host="demo.example:8443", origin="https://demo.example:8443")
    assert not refused(proxied, host="localhost:7860")
    assert refused(proxied, host="evil.example", origin="https://evil.example") == 421
    assert refused(proxied, host="demo.example", origin="https://evil.example") == 403
    assert refused(proxied, host="demo.example", origin="https://demo.example.evil.example") == 403
    assert refused(proxied, host="demo.example", origin="null") == 403
    assert refused(proxied, host="192.168.0.7:7860") == 421


def test_an_international_name_is_allowed_as_browsers_send_it(hosts: Any) -> None:
    proxied = hosts("127.0.0.1", ["München.example"])
    assert not refused(proxied, host="xn--mnchen-3ya.example", origin="https://xn--mnchen-3ya.example")


def test_an_open_server_is_used_by_its_own_page_only(hosts: Any) -> None:
    opened = hosts("0.0.0.0")
    for host in ("192.168.0.7:7860", "lab.example:7860", "[fe80::1]:7860"):
        assert not refused(opened, host=host)
        assert not refused(opened, host=host, origin=f"http://{host}")
        assert refused(opened, host=host, origin="http://evil.example") == 403
        assert refused(opened, host=host, sec_fetch_site="cross-site") == 403


def test_an_open_server_with_allowed_names_refuses_other_names(hosts: Any) -> None:
    opened = hosts("0.0.0.0", ["localhost"])
    assert refused(opened, host="evil.example:7860", origin="http://evil.example:7860") == 421
    for host in ("192.168.0.7:7860", "127.0.0.1:7860", "localhost:7860", "[::1]:7860"):
        assert not refused(opened, host=host, origin=f"http://{host}"), "nobody can rebind an address"
    assert refused(opened, host="localhost:7860", origin="http://localhost:3000") == 403


@pytest.mark.parametrize("host", ["", " ", "127.0.0.1 ", "nowhere.invalid", "a" * 300, "192.0.2.1"])
def test_a_host_that_is_no_address_of_this_machine_is_refused(host: str, command: Callable[..., Any]) -> None:
    pytest.importorskip("gradio")
    outcome = command("webui", "--backend", "onnx", "--port", 0, "--host", host)
    assert outcome.code == 1
    assert "error: --host must be an address" in outcome.err
    assert "127.0.0.1" in outcome.err


@pytest.mark.parametrize("name", ["http://demo.example", "demo.example:80", "*", "", "a b", "-", ".."])
def test_an_allowed_host_must_be_a_name(name: str, command: Callable[..., Any]) -> None:
    pytest.importorskip("gradio")
    outcome = command("webui", "--port", 0, "--allow-host", name)
    assert (outcome.code, "error: --allow-host must be a host name, got" in outcome.err) == (1, True)


def test_this_machine_has_several_names(hosts: Any) -> None:
    from mobilesam.serve.server import Address, listen

    for name in ("localhost", "127.0.0.1", "::1"):
        with listen(Address(name, 0)) as listener:
            assert hosts(listener.getsockname()[0]).loopback
    with listen(Address("0.0.0.0", 0)) as listener:
        assert not hosts(listener.getsockname()[0]).loopback
