"""The page as its users see it: served by the command, shown by Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.webui_server import Server
from tests.robustness.server_client import serving
from tests.webui.site_folder import written


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests that do not change it."""
    with serving("--max-pixels", "20000000", "--max-upload-mb", "30") as running:
        yield running


class Page:
    """A page in a browser context of its own, and the actions of its user.

    problems: the errors of its script; a test that causes one clears it.
    """

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda entry: self.problems.append(entry.text) if entry.type == "error" else None)
        self.page.add_init_script("window.pageOf = () => document.querySelector('.mobilesam').page;")
        self.page.goto(url)
        self.page.wait_for_selector('.mobilesam[data-state="empty"]')

    def open(self, path: Path) -> None:
        """Open an image and wait until it is encoded."""
        self.page.set_input_files('[data-part="file"]', path)
        self.settle()
        assert self.value("state.phase") == "ready", self.message

    def offer(self, path: Path) -> str:
        """Try to open a file and return the message of the page."""
        self.page.set_input_files('[data-part="file"]', path)
        self.page.wait_for_function("() => pageOf().store.state.message")
        self.settle()
        return self.message

    def until(self, condition: str) -> None:
        """Wait until an expression with the variables ``page`` and ``state`` is true."""
        self.page.wait_for_function(f"() => {{ const page = pageOf(), {{ state }} = page.store; return {condition}; }}")

    def value(self, expression: str) -> Any:
        """Return the value of an expression with the variables ``page`` and ``state``."""
        return self.page.evaluate(f"() => {{ const page = pageOf(), {{ state }} = page.store; return {expression}; }}")

    def color(self, x: int, y: int) -> list[int]:
        """Return the color, [r, g, b], of the canvas at a pixel of the image."""
        script = (
            "([x, y]) => { const s = pageOf().painter, f = s.fit, r = s.ratio;"
            " return [...s.context.getImageData((f.left + (x + .5) * f.scale) * r, (f.top + (y + .5) * f.scale) * r,"
            " 1, 1).data.slice(0, 3)]; }"
        )
        return list(self.page.evaluate(script, [x, y]))

    def settle(self) -> None:
        """Wait until no request is open and the canvas is painted."""
        self.page.wait_for_function(
            "() => { const { store: { state, seen }, painter } = pageOf(), { phase } = state;"
            " return (phase === 'ready' || phase === 'empty') && state === seen && !state.decoding && !painter.frame; }"
        )

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the position in the window of the center of a pixel of the image."""
        return tuple(
            self.page.evaluate(
                "([x, y]) => { const { fit: f, canvas } = pageOf().painter, b = canvas.getBoundingClientRect();"
                " return [b.left + f.left + (x + .5) * f.scale, b.top + f.top + (y + .5) * f.scale]; }",
                [x, y],
            )
        )

    def click(self, x: float, y: float, **options: Any) -> None:
        """Click a pixel of the image and wait for the response."""
        self.page.mouse.click(*self.place(x, y), **options)
        self.settle()

    def drag(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Drag from one pixel to another and wait for the response."""
        self.page.mouse.move(*self.place(x1, y1))
        self.page.mouse.down()
        self.page.mouse.move(*self.place((x1 + x2) / 2, y2))
        self.page.mouse.move(*self.place(x2, y2))
        self.page.mouse.up()
        self.settle()

    def press(self, key: str) -> None:
        """Press a key and wait for the response."""
        self.page.keyboard.press(key)
        self.settle()

    def save(self, kind: str) -> Path:
        """Press a button under Save and return the file."""
        with self.page.expect_download() as download:
            self.page.click(f'[data-save="{kind}"]')
        self.saved_as = download.value.suggested_filename
        return Path(download.value.path())

    def save_mask(self) -> npt.NDArray[np.bool_]:
        """Save the mask and return it, (H, W) bool."""
        pixels = np.asarray(Image.open(self.save("mask")))
        assert set(np.unique(pixels)) <= {0, 255}
        mask: npt.NDArray[np.bool_] = pixels == 255
        return mask

    def save_json(self, kind: str) -> Any:
        """Save a JSON file and return its content."""
        return json.loads(self.save(kind).read_text(encoding="utf-8"))

    @property
    def prompt(self) -> dict[str, Any]:
        """The prompt of the object that is being marked; without steps if it has none and no mask was chosen."""
        prompt = dict(self.value("state.doc.prompt"))
        refined = prompt["steps"] or prompt["chosen"] is not None
        return prompt if refined else {"points": prompt["points"], "box": prompt["box"]}

    @property
    def masks(self) -> list[dict[str, Any]]:
        """The candidate masks of the current prompt, as the server sent them."""
        marked = "(state.doc.prompt.points.length || state.doc.prompt.box)"
        return list(self.value(f"{marked} && state.decoded ? state.decoded.prediction.masks : []"))

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The objects of the list."""
        return list(self.value("state.doc.objects"))

    @property
    def message(self) -> str:
        """The message at the top, or an empty string."""
        return str(self.value("page.part('message').hidden ? '' : page.part('message-text').textContent"))

    @property
    def status(self) -> str:
        """The text over the image."""
        return str(self.page.inner_text('[data-part="status"]'))

    def segment_everything(self, mode: str = "fast") -> None:
        """Run everything mode and wait for its segments."""
        self.page.click('[role="tab"][data-tab="everything"]')
        self.page.click(f'[data-mode="{mode}"]')
        self.page.click('[data-do="everything"]')
        self.until("state.run && !state.progress && state === page.store.seen")

    def close(self) -> None:
        """Close the page, and check that its script had no error and sent no request to other servers."""
        self.context.close()
        assert not self.problems
        assert [url for url in self.requests if not url.startswith((self.url, "blob:", "data:"))] == []


@pytest.fixture
def open_page(browser: Any, server: Server) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the page in a new session: ``open_page()``, ``open_page(url=..., viewport=...)``."""
    pages: list[Page] = []

    def opened(url: str = server.url, **options: Any) -> Page:
        pages.append(Page(browser, url, **options))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def float32_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``mobilesam site --precision float32``; tests that change it copy it."""
    return written(tmp_path_factory.mktemp("site") / "site", "float32")


@pytest.fixture(scope="session")
def predictor() -> Any:
    """The predictor that the page's masks are compared with: the same model, in this process."""
    import mobilesam

    return mobilesam.SamPredictor(mobilesam.load(backend="onnx"))


@pytest.fixture
def expected(predictor: Any) -> Callable[..., npt.NDArray[np.bool_]]:
    """Return the mask that ``mobilesam predict`` keeps for points [x, y, label] and a box: ``expected(image, ...)``."""

    def mask(image: Any, points: Any = (), box: Any = None) -> npt.NDArray[np.bool_]:
        predictor.set_image(image)
        coords, labels = [point[:2] for point in points] or None, [point[2] for point in points] or None
        kept: npt.NDArray[np.bool_] = predictor.predict_one(coords, labels, box).masks[0]
        return kept

    return mask


@pytest.fixture(scope="session")
def cat(photo: Callable[[str], Path]) -> Path:
    """The photo of a cat, 451 x 300."""
    return photo("chelsea.png")
