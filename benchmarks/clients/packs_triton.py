"""A model repository of ``mobilesam export --for triton``, served and called as docs/guides/onnx.md says.

    mobilesam export --for triton --out MODELS
    pip install "tritonclient[http]==2.73.0" pillow    # besides what the server needs, see its script
    python -m benchmarks.clients.packs_triton MODELS PHOTOS expected.npz --server triton_core

The servers are ``triton_core``, Triton itself without its ONNX Runtime backend, and ``triton_kserve``. The client is
the ``segment.py`` of the page.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tritonclient.http as http
from PIL import Image

from benchmarks.clients.pack_cases import Report, cases

_PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "guides" / "onnx.md"


def block(opening: str) -> str:
    """Return the block of code of the page that begins with a line."""
    (code,) = re.findall(f"^```{opening}\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return code


def page_client() -> SimpleNamespace:
    """Return the functions of the page's ``segment.py``."""
    names = {"__name__": "segment"}
    exec(block('python title="segment.py"'), names)
    return SimpleNamespace(**names)


@contextmanager
def serving(server: str, models: Path) -> Iterator[str]:
    """Run a server until the end of the context, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scratch = tempfile.TemporaryDirectory()
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.clients.{server}", models, str(port)],
        env={**os.environ, "TMPDIR": scratch.name},
    )
    client = http.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        for _ in range(240):
            with suppress(OSError):
                if client.is_server_ready():
                    break
            if process.poll() is not None:
                raise SystemExit("The server ended.")
            time.sleep(0.5)
        else:
            raise SystemExit("The server was not ready after two minutes.")
        yield f"127.0.0.1:{port}"
    finally:
        client.close()
        process.terminate()
        process.wait(60)
        scratch.cleanup()


def encode_together(url: str, page: SimpleNamespace, images: list[Image.Image]) -> None:
    """Encode images at the same time, and fail if an embedding depends on the others."""

    def encode(image: Image.Image) -> np.ndarray:
        with http.InferenceServerClient(url, connection_timeout=600, network_timeout=600) as server:
            return page.encode(server, image)[0]

    alone = [encode(image) for image in images]
    with ThreadPoolExecutor(len(images)) as pool:
        together = list(pool.map(encode, images))
    error = max(float(np.abs(a - b).max()) for a, b in zip(alone, together, strict=True))
    print(f"{len(images)} images at the same time: embeddings differ by {error:.0e}")
    if error > 1e-4:
        raise SystemExit("Embeddings of a batch differ.")


def decode_together(server: http.InferenceServerClient, page: SimpleNamespace, image: Image.Image) -> None:
    """Decode the page's prompts in one request, and fail if their masks are not those of the decoder."""
    embedding, scale = page.encode(server, image)
    sent = {}

    def infer(*names: object, **arrays: np.ndarray) -> np.ndarray:
        sent.update(arrays)
        return page.infer(*names, **arrays)

    names = {"np": np, "server": server, "embedding": embedding, "scale": scale, "infer": infer}
    exec(block("py"), names)
    error = 0.0
    for row, logits in enumerate(names["logits"]):
        prompt = {name: sent[name][row : row + 1] for name in ("point_coords", "point_labels")}
        size = np.array([image.height, image.width])
        (alone,) = page.infer(server, "decoder", "low_res_masks", **(sent | prompt), orig_im_size=size)
        error = max(error, float(np.abs(alone - logits).max()))
    print(f"{row + 1} prompts in one request: logits {names['logits'].shape} differ by {error:.0e}")
    if error > 1e-3:
        raise SystemExit("Masks of several prompts differ.")


def main() -> None:
    """Segment each prompt, compare the masks, and encode several images at the same time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("expected", type=Path, help="the file that pack_expected wrote")
    parser.add_argument("--server", choices=["triton_core", "triton_kserve"], default="triton_core")
    options = parser.parse_args()
    page, report = page_client(), Report(0.999)
    with serving(options.server, options.models) as url:
        with http.InferenceServerClient(url, connection_timeout=600, network_timeout=600) as server:
            print(server.get_server_metadata())
            print(server.get_model_metadata("mobilesam_encoder"))
            for case in cases(options.photos, options.expected):
                image = Image.open(case.image)
                embedding, scale = page.encode(server, image)
                points, labels = (each.tolist() for each in case.labeled_points)
                if not case.box.size:
                    points, labels = [*points, [0, 0]], [*labels, -1]
                report.add(case, page.decode(server, image, embedding, scale, points, labels)[0])
            if options.server == "triton_core":
                decode_together(server, page, image)
        encode_together(url, page, [Image.open(path) for path in sorted(options.photos.glob("*.jpg"))])
    report.end()


if __name__ == "__main__":
    main()
