"""One run of everything mode in a process of its own: a JSON request on stdin, a JSON answer on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.packages import REFERENCE, load_predictor
from benchmarks.worker import peak_memory


def main() -> None:
    """Answer {"seconds", "peak_bytes", "torch", "masks"}; loading and reading the image are not timed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a package prints must not be taken for an answer
    request = json.load(sys.stdin)
    predictor = load_predictor(request["package"], Path(request["weights"]), request["threads"])
    if request["package"] == REFERENCE:
        from mobile_sam import SamAutomaticMaskGenerator
    else:
        from mobilesam import SamAutomaticMaskGenerator
    image = np.asarray(Image.open(request["image"]).convert("RGB"))
    generator = SamAutomaticMaskGenerator(predictor.model, output_mode="coco_rle", **request["options"])
    start = time.perf_counter()
    records = generator.generate(image)
    seconds = time.perf_counter() - start
    masks = [record["segmentation"] for record in records]
    answer = {"seconds": seconds, "peak_bytes": peak_memory(), "torch": "torch" in sys.modules, "masks": masks}
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
