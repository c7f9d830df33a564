"""A pack in Label Studio's backend segment_anything_model, from a request to the mask in the response.

In an environment with label-studio-ml, label-studio-converter, mobilesam[torch] and mobilesam-compat:

    python -m benchmarks.clients.packs_labelstudio PACK PHOTOS expected.npz BACKEND

BACKEND is the folder label_studio_ml/examples/segment_anything_model of label-studio-ml-backend. Its coordinates are
percentages that it rounds down to pixels, so whole pixels are sent.
"""

from __future__ import annotations

import os
import sys
import tempfile

import numpy as np

from benchmarks.clients.pack_cases import Case, Report, arguments, cases

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="tag" toName="image"><Label value="object"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="object"/></KeyPointLabels>
<RectangleLabels name="box" toName="image" smart="true"><Label value="object"/></RectangleLabels></View>"""


def context_of(case: Case) -> dict:
    """Return the prompt as Label Studio sends it."""
    height, width = case.mask.shape
    size = {"original_width": width, "original_height": height}

    def percent(x: float, y: float) -> dict:
        return {"x": 100 * (x + 0.01) / width, "y": 100 * (y + 0.01) / height}

    result = []
    for x, y, label in case.points.tolist():
        value = percent(x, y) | {"keypointlabels": ["object"]}
        result.append({**size, "type": "keypointlabels", "is_positive": label, "value": value})
    if case.box.size:
        x1, y1, x2, y2 = case.box.tolist()
        sides = {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height}
        value = percent(x1, y1) | sides | {"rectanglelabels": ["object"]}
        result.append({**size, "type": "rectanglelabels", "value": value})
    return {"result": result}


def main() -> None:
    """Segment through the backend's class, decode its run lengths, and compare the masks."""
    *shared, backend = sys.argv[1:]
    sys.argv[1:] = shared
    options = arguments(__doc__.partition("\n")[0])
    os.environ |= {"SAM_CHOICE": "MobileSAM", "MOBILESAM_CHECKPOINT": str(options.pack / "mobile_sam.pt")}
    os.environ["MODEL_DIR"] = tempfile.mkdtemp()  # where the backend writes its database
    sys.path.insert(0, backend)
    from label_studio_converter import brush
    from model import PREDICTOR, SamMLBackend

    print(PREDICTOR.model_name, type(PREDICTOR.predictor).__module__)
    server = SamMLBackend(label_config=CONFIG)
    server.get_local_path = lambda url, **_: url
    report = Report(0.99)
    for case in cases(options.photos, options.expected):
        response = server.predict([{"id": 1, "data": {"image": str(case.image)}}], context_of(case))
        result = response[0]["result"][0]
        alpha = brush.decode_rle(result["value"]["rle"]).reshape(*case.mask.shape, 4)[..., 3]
        report.add(case, np.asarray(alpha) > 0)
    payload = PREDICTOR.set_image(str(case.image), task={"id": 1}, path_resolver=lambda path, **_: path)
    print("image_shape", payload["image_shape"])
    embedding = PREDICTOR.predictor.get_image_embedding().cpu().numpy()
    print("get_image_embedding", embedding.shape, embedding.dtype)
    report.end()


if __name__ == "__main__":
    main()
