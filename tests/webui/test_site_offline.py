"""The folder of ``mobilesam site`` at its next load: from the browser's caches, without a network, and isolated."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks.site_server import Tab, serving
from tests.webui import site_folder

pytestmark = [pytest.mark.weights, pytest.mark.slow]

Reload = Callable[[], None]

# A page that loads the model, and keeps what it reports.
PAGE = """<!doctype html>
<title>offline</title>
<link rel="icon" href="data:,">
<script type="module">
  import { register } from "./offline.js";
  import { MobileSam } from "./mobilesam.js";
  window.downloads = [];
  window.notes = [];
  window.loads = Number(sessionStorage.loads ?? 0) + 1;
  sessionStorage.loads = window.loads;
  if (!location.hash.includes("plain")) await register();
  window.sam = await MobileSam.load("./", {
    threads: 2,
    onDownload: (...values) => downloads.push(values),
    onNote: (text) => notes.push(text),
  });
  window.maskOfClick = async () => {
    const image = await createImageBitmap(await (await fetch("cat.png")).blob(), { colorSpaceConversion: "none" });
    await sam.setImage(image);
    const { masks: [mask] } = await sam.predictOne({ points: [[200, 100]], labels: [1] });
    return mask.join("");
  };
  window.ready = true;
</script>
"""
# The digests of the kept files of the model.
KEPT = """
const name = (await caches.keys()).find((each) => each.startsWith("mobilesam model"));
const requests = name ? await (await caches.open(name)).keys() : [];
return requests.map(({ url }) => url.split("/").at(-1)).sort();
"""
# Keep a file of the model with one other byte.
DAMAGE = """
const name = (await caches.keys()).find((each) => each.startsWith("mobilesam model"));
const cache = await caches.open(name);
const [request] = (await cache.keys()).filter(({ url }) => url.endsWith(given));
const content = new Uint8Array(await (await cache.match(request)).arrayBuffer());
content[content.length - 1] ^= 1;
await cache.put(request, new Response(content));
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site, with a page of its own and a photo."""
    out = site_folder.written(tmp_path_factory.mktemp("site") / "site", "weights")
    (out / "page.html").write_text(PAGE)
    return out


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "site"))


def manifest_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


def model_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of the files that the model reads, by name."""
    manifest = manifest_of(folder)
    names = {*manifest["graphs"].values(), manifest["learned"], manifest["runtime"]["wasm"]}
    return {entry["file"]: entry for entry in manifest["files"] if entry["file"] in names}


def digests_of(folder: Path) -> list[str]:
    return sorted(entry["sha256"] for entry in model_of(folder).values())


def change_model(folder: Path) -> None:
    """Write another file for a graph, and the manifest of it."""
    manifest = manifest_of(folder)
    name = manifest["graphs"]["score"]
    model = onnx.load(folder / name)
    model.doc_string = "another version"
    onnx.save(model, folder / name)
    content = (folder / name).read_bytes()
    for entry in manifest["files"]:
        if entry["file"] == name:
            entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@contextlib.contextmanager
def opened(browser: Any, folder: Path, hash: str = "", *, isolated: bool = False) -> Iterator[tuple[Tab, Reload]]:
    """Yield a tab with the page, and a function that opens the page again."""
    with serving(folder, isolated=isolated) as address:
        tab = Tab(browser, address)  # a page of the folder that registers nothing

        def reload() -> None:
            tab.requests.clear()
            tab.page.goto("about:blank")
            tab.page.goto(f"{address}page.html{hash}")
            tab.page.wait_for_function("() => window.ready")

        reload()
        yield tab, reload
        assert tab.problems == []
        assert [url for url in tab.requests if not url.startswith((address, "about:", "blob:", "data:"))] == []
        tab.close()


def fetched(tab: Tab, folder: Path) -> list[str]:
    """Return the files of the model that were requested."""
    names = [url.split("/", 3)[-1] for url in tab.requests]
    return sorted(name for name in names if name in model_of(folder))


def kept(tab: Tab) -> list[str]:
    return list(tab.run(KEPT))


def test_the_next_load_needs_no_network(browser: Any, folder: Path) -> None:
    with opened(browser, folder) as (tab, reload):
        model = model_of(folder)
        assert fetched(tab, folder) == sorted(model), "each file once"
        total = sum(entry["size"] for entry in model.values())
        downloads = tab.run("return downloads")
        assert {all for _, _, all in downloads} == {total}
        assert [done for _, done, _ in downloads] == sorted(done for _, done, _ in downloads)
        assert downloads[-1][1] == total
        assert kept(tab) == digests_of(folder)
        assert tab.run("return notes") == []
        mask = tab.run("return maskOfClick()")
        assert "1" in mask
        wait_for_pages(tab, folder)
        tab.context.set_offline(True)
        reload()
        assert tab.run("return downloads") == []
        assert tab.run("return maskOfClick()") == mask


def wait_for_pages(tab: Tab, folder: Path) -> None:
    """Wait until the service worker has kept the pages and scripts."""
    tab.page.wait_for_function("async () => Boolean(await caches.match(new URL('manifest.json', location)))")
    listed = {entry["file"] for entry in manifest_of(folder)["files"]} - set(model_of(folder))
    code = """
    const name = (await caches.keys()).find((each) => each.startsWith("mobilesam pages"));
    return (await (await caches.open(name)).keys()).map(({ url }) => url.split("/").slice(3).join("/"));
    """
    names = set(tab.run(code))
    assert names >= {"manifest.json", "page.html", *(name for name in listed if not name.startswith("weights/"))}
    assert not {name for name in names if name.startswith("weights/") or name.endswith(".wasm")}, "kept once"


def test_the_server_ends(browser: Any, folder: Path) -> None:
    """Without the network of the page, and without the server."""
    with contextlib.ExitStack() as server:
        tab, _ = server.enter_context(opened(browser, folder, isolated=True))
        address = tab.page.url
        assert tab.run("return [crossOriginIsolated, loads]") == [True, 1]
        mask = tab.run("return maskOfClick()")
        wait_for_pages(tab, folder)
        context, page = tab.context, tab.page
        tab.close = lambda: None  # type: ignore[method-assign]
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("() => window.ready")
    assert tab.run("return maskOfClick()") == mask
    context.close()


def test_a_plain_host_becomes_isolated(browser: Any, folder: Path) -> None:
    with opened(browser, folder) as (tab, reload):
        assert tab.run("return [crossOriginIsolated, loads]") == [True, 2], "after one reload"
        assert "1" in tab.run("return maskOfClick()")
        assert len([worker for worker in tab.page.workers if "ort" in worker.url]) == 1, "the second thread"
        reload()
        assert tab.run("return [crossOriginIsolated, loads]") == [True, 3]


def test_a_page_that_cannot_be_isolated_is_reloaded_once(browser: Any, folder: Path) -> None:
    script = folder / "service_worker.js"
    script.write_text(script.read_text().replace("headers.set(name, value)", "name, value"))
    with opened(browser, folder) as (tab, reload):
        assert tab.run("return [crossOriginIsolated, loads]") == [False, 2]
        assert "1" in tab.run("return maskOfClick()"), "with one thread"
        reload()
        assert tab.run("return loads") == 3


@pytest.mark.parametrize("hash", ["", "#plain"], ids=["service worker", "none"])
def test_another_version_is_taken(browser: Any, folder: Path, hash: str) -> None:
    with opened(browser, folder, hash) as (tab, reload):
        before = set(kept(tab))
        change_model(folder)
        (folder / "page.html").write_text(PAGE.replace("<title>offline", "<title>another"))
        reload()
        if not hash:  # without a service worker, the browser may keep the page for some time
            assert tab.page.title() == "another"
        changed = manifest_of(folder)["graphs"]["score"]
        size = model_of(folder)[changed]["size"]
        assert fetched(tab, folder) == [changed]
        assert tab.run("return downloads.at(-1)") == [changed, size, size]
        assert kept(tab) == digests_of(folder)
        assert len(before - set(kept(tab))) == 1


def test_a_damaged_file_is_fetched_again(browser: Any, folder: Path) -> None:
    with opened(browser, folder, "#plain") as (tab, reload):
        name = manifest_of(folder)["graphs"]["image"]
        entry = model_of(folder)[name]
        tab.run(DAMAGE, entry["sha256"])
        reload()
        assert fetched(tab, folder) == [name]
        assert tab.run("return downloads.at(-1)") == [name, entry["size"], entry["size"]]
        reload()
        assert fetched(tab, folder) == []


def test_folders_of_one_host(browser: Any, folder: Path) -> None:
    """Each keeps its version of the model; equal files are kept once."""
    shutil.copytree(folder, folder / "second")
    change_model(folder / "second")
    with opened(browser, folder, "#plain") as (tab, reload):
        tab.load(folder="second/", options="{ onDownload: (...values) => downloads.push(values) }")
        changed = manifest_of(folder)["graphs"]["score"]
        size = model_of(folder / "second")[changed]["size"]
        assert tab.run("return downloads.at(-1)") == [changed, size, size]
        assert kept(tab) == sorted({*digests_of(folder), *digests_of(folder / "second")})
        reload()
        assert fetched(tab, folder) == []


def test_a_browser_without_room(browser: Any, folder: Path) -> None:
    with opened(browser, folder, "#plain") as (tab, reload):
        address = tab.page.url.split("/page.html")[0]
        tab.run("for (const name of await caches.keys()) await caches.delete(name)")
        session = tab.context.new_cdp_session(tab.page)
        session.send("Storage.overrideQuotaForOrigin", {"origin": address, "quotaSize": 1_000_000})
        reload()
        text = "The browser has no room to keep the model, so it is fetched again next time."
        assert tab.run("return notes") == [text]
        assert "1" in tab.run("return maskOfClick()")


def test_a_browser_that_refuses(browser: Any, folder: Path) -> None:
    with opened(browser, folder, "#plain") as (tab, _):
        load = """
        const script = `
          Object.defineProperty(globalThis, "caches", { get() { throw new DOMException("", "SecurityError"); } });
          await import("${new URL("model/worker.js", location)}");
          postMessage("imported");`;
        const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
        const worker = new Worker(address, { type: "module" });
        await new Promise((resolve) => { worker.onmessage = resolve; });
        const base = new URL("./", location).href;
        const note = await new Promise((resolve) => {
          worker.onmessage = ({ data }) => { if (!data.progress) resolve(data); };
          worker.postMessage({ id: 1, method: "open", argument: { base, threads: 1 } });
        });
        worker.terminate();
        return note;
        """
        text = "The browser does not keep files of this page, so the model is fetched again next time."
        assert tab.run(load) == {"id": 1, "result": text}
