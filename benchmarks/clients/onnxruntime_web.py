"""npm's onnxruntime-web 1.30 in Node, on exported files, against onnxruntime in Python.

In an environment with mobilesam[export] and with Node.js and npm on the path:

    python -m benchmarks.clients.onnxruntime_web IMAGE
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

import mobilesam
from mobilesam.export import Plan, export_onnx
from mobilesam.image import read_image
from mobilesam.image.model_input import encoder_input
from mobilesam.loading import require_torch

PACKAGE = "onnxruntime-web@1.30.0"


def main() -> None:
    """Export, run both, print the differences and the times; fail if they are large."""
    image = read_image(sys.argv[1])
    pixels, (height, width) = encoder_input(image, 1024)
    feeds = {
        "input_image": pixels,
        "point_coords": np.array([[[width / 2, height / 2], [0, 0]]], np.float32),
        "point_labels": np.array([[1, -1]], np.float32),
        "mask_input": np.zeros((1, 1, 256, 256), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sam = require_torch(mobilesam.load(backend="torch", device="cpu"), "export").sam
        export_onnx(sam, folder, Plan(parts=("encoder", "decoder"), low_res_only=True))
        for key, value in feeds.items():
            (folder / f"{key}.bin").write_bytes(np.ascontiguousarray(value).tobytes())
        (folder / "inputs.json").write_text(json.dumps({key: value.shape for key, value in feeds.items()}))
        subprocess.run(["npm", "install", "--silent", "--prefix", name, PACKAGE], check=True)
        script = shutil.copy(Path(__file__).with_suffix(".mjs"), folder)
        run = subprocess.run(["node", script, name], check=True, capture_output=True, text=True)
        print(PACKAGE, run.stdout.strip())
        expected = outputs(folder, feeds)
        for key, value in expected.items():
            error = float(np.abs(np.fromfile(folder / f"{key}.out", np.float32).reshape(value.shape) - value).max())
            print(f"{key}: largest difference {error:.1e}, largest value {np.abs(value).max():.3g}")
            if error > 1e-3 * np.abs(value).max():
                raise SystemExit("The results differ.")


def outputs(folder: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what Python's onnxruntime computes."""
    feeds = dict(feeds)
    encoder, decoder = (onnxruntime.InferenceSession(folder / name) for name in ("encoder.onnx", "decoder.onnx"))
    (embedding,) = encoder.run(None, {"input_image": feeds.pop("input_image")})
    names = [output.name for output in decoder.get_outputs()]
    values = decoder.run(names, {"image_embeddings": embedding, **feeds})
    return {"image_embeddings": embedding} | dict(zip(names, values, strict=True))


if __name__ == "__main__":
    main()
