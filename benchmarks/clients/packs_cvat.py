"""A pack in CVAT: its function, and CVAT's own client of SAM in a browser, with the decoder of the pack.

The client is CVAT's cvat-ui/plugins/sam, compiled unmodified; CVAT itself does not run.

    npm install onnxruntime-web@1.14.0 lru-cache@9 esbuild            # in the folder NODE
    pip install playwright
    CHROMIUM=/usr/bin/chromium python -m benchmarks.clients.packs_cvat PACK PHOTOS expected.npz NODE SOURCES

SOURCES is the folder of index.tsx and inference.worker.ts. The client sends points without padding.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.clients.browser import opened
from benchmarks.clients.pack_cases import Case, Report, arguments, cases

PAGE = """<!doctype html><link rel="icon" href="data:,"><script type="module">
window.cvatUI = { registerComponent: (builder) => builder({
  core: { plugins: { register: (plugin) => { window.plugin = plugin; } } },
  dispatch: () => {}, REGISTER_ACTION: "", REMOVE_ACTION: "",
}) };
await import("/plugin/index.js");
window.dispatchEvent(new Event("plugins.ready"));
</script>"""
SEGMENT = """async ([frame, height, width, result, positive, negative, box]) => {
  const plugin = window.plugin;
  const model = { id: "pth-facebookresearch-sam-vit-h" };
  const frames = { get: async () => ({ height, width }) };
  plugin.data.jobs = { 1: { id: 1, taskId: 1, startFrame: 0, stopFrame: 99, frames } };
  const known = await plugin.cvat.lambda.call.enter(plugin, 1, model, { frame });
  const prompt = { frame, pos_points: positive, neg_points: negative, obj_bbox: box };
  return plugin.cvat.lambda.call.leave(plugin, known ? null : result, 1, model, prompt);
}"""


class Function:
    """The function of the pack, called as nuclio calls it."""

    def __init__(self, pack: Path) -> None:
        spec = importlib.util.spec_from_file_location("function", pack / "main.py")
        self._module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)
        self._context = SimpleNamespace(user_data=SimpleNamespace(), Response=SimpleNamespace)
        self._module.init_context(self._context)

    def __call__(self, photo: Path) -> dict:
        """Return the response for an image."""
        body = {"image": base64.b64encode(photo.read_bytes()).decode()}
        response = self._module.handler(self._context, SimpleNamespace(body=body))
        assert response.status_code == 200
        return json.loads(response.body)


def compiled(node: str, sources: Path, plugin: Path) -> None:
    """Compile the client; its worker is loaded by its name in the sources."""
    for name, form, out in (("index.tsx", "esm", "index.js"), ("inference.worker.ts", "iife", "inference.worker.js")):
        command = ["npx", "esbuild", str((sources / name).resolve()), "--bundle", f"--format={form}"]
        environment = os.environ | {"NODE_PATH": str(Path(node).resolve() / "node_modules")}
        subprocess.run(
            [*command, f"--outfile={plugin / out}", "--log-level=error"], cwd=node, env=environment, check=True
        )
    (plugin / "inference.worker.js").rename(plugin / "inference.worker")


def points_of(case: Case) -> tuple[list, list]:
    """Return the positive and the negative points of a case."""
    return tuple([[x, y] for x, y, label in case.points.tolist() if label == wanted] for wanted in (1, 0))


def box_of(case: Case) -> list:
    """Return the corners of a box, or none. Older clients have no boxes and ignore it."""
    return case.box.reshape(-1, 2).tolist()


def main() -> None:
    """Run the function and the client, and compare the masks."""
    *shared, node, sources = sys.argv[1:]
    sys.argv[1:] = shared
    options = arguments(__doc__.partition("\n")[0])
    function, report = Function(options.pack), Report(0.99)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "index.html").write_text(PAGE)
        compiled(node, Path(sources), root / "plugin")
        shutil.copytree(Path(node) / "node_modules" / "onnxruntime-web" / "dist", root / "assets")
        shutil.copy(options.pack / "decoder.onnx", root / "assets")
        with opened(root) as page:
            page.wait_for_function("window.plugin")
            for frame, case in enumerate(cases(options.photos, options.expected)):
                response, size = function(case.image), case.mask.shape
                result = page.evaluate(SEGMENT, [frame, *size, response, *points_of(case), box_of(case)])
                left, top, right, bottom = result["bounds"]
                mask = np.zeros(size, bool)
                mask[top : bottom + 1, left : right + 1] = np.array(result["mask"]) > 0
                report.add(case, mask)
    report.end()


if __name__ == "__main__":
    main()
