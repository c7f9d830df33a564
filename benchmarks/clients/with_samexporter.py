"""Exported files in another program: the class SegmentAnythingONNX of PyPI's samexporter 0.5.0.

Run in an environment with mobilesam[export] and samexporter, whose own version pins are too old for the export:

    pip install --no-deps samexporter==0.5.0
    python -m benchmarks.clients.with_samexporter IMAGE

It exports with the default options, which such clients need: an encoder of rank 4 and SAM's decoder. With
--preprocess float32 the encoder is of rank 3, as samexporter writes it with --use-preprocess. Such clients take
neither --preprocess uint8 nor --low-res-only.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from samexporter.sam_onnx import SegmentAnythingONNX

import mobilesam
from mobilesam.export import Plan, export_onnx
from mobilesam.loading import require_torch


def main() -> None:
    """Export, segment with both, print the differences, and fail if the masks are not the same."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("image", type=Path)
    photo = cv2.imread(str(parser.parse_args().image))
    height, width = photo.shape[:2]
    model = mobilesam.load(backend="torch", device="cpu")
    predictor = mobilesam.SamPredictor(model)
    predictor.set_image(photo, image_format="BGR")
    x, y = width // 2, height // 2
    point, box = [x, y], [width // 4, height // 4, 3 * width // 4, 3 * height // 4]
    for preprocess in ("none", "float32"):
        with tempfile.TemporaryDirectory() as folder:
            plan = Plan(parts=("encoder", "decoder"), preprocess=preprocess)
            encoder, decoder = (
                str(file.path) for file in export_onnx(require_torch(model, "export").sam, folder, plan)
            )
            client = SegmentAnythingONNX(encoder, decoder, providers="cpu")
        embedding = client.encode(photo)
        # The client adds a padding point to a box, too, which is a point with label -1 here.
        prompts = {
            "point": ([{"type": "point", "data": point, "label": 1}], {"point_coords": [point], "point_labels": [1]}),
            "box": (
                [{"type": "rectangle", "data": box}],
                {"box": box, "point_coords": [[0, 0]], "point_labels": [-1]},
            ),
        }
        for name, (theirs, ours) in prompts.items():
            masks = client.predict_masks(embedding, theirs)[0] > 0
            single = predictor.predict(**ours, multimask_output=False).masks
            expected = np.concatenate([single, predictor.predict(**ours).masks])
            apart = int((masks != expected).sum(axis=(1, 2)).max())
            rank = client.encoder_input_rank
            print(f"encoder of rank {rank}, {name}: {len(masks)} masks, at most {apart} pixels differ")
            if masks.shape != expected.shape or apart > max(2, 1e-4 * height * width):
                raise SystemExit("The masks of the exported files differ from those of SamPredictor.")


if __name__ == "__main__":
    main()
