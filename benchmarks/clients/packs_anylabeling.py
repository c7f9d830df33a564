"""A pack in AnyLabeling or X-AnyLabeling: their class SegmentAnything, from the configuration file to polygons.

    pip install anylabeling==0.4.43                    # or x-anylabeling-cvhub==4.2.1 onnx onnxruntime
    QT_QPA_PLATFORM=offscreen python -m benchmarks.clients.packs_anylabeling PACK PHOTOS expected.npz

Both bring an image to 684 x 1024 pixels with black padding, where the network was trained on 1024 with padding of the
mean color. So their masks are compared with SamPredictor's for that frame. Polygons lose small parts and holes.
"""

from __future__ import annotations

import anylabeling.config
import cv2
import numpy as np
import yaml
from anylabeling.services.auto_labeling.segment_anything import SegmentAnything
from PyQt6 import QtGui, QtWidgets

from benchmarks.clients.pack_cases import Report, arguments, cases, iou


def main() -> None:
    """Load the pack as a custom model, segment, and compare masks and polygons."""
    options = arguments(__doc__.partition("\n")[0])
    application = QtWidgets.QApplication([])  # kept until the end
    anylabeling.config.current_config_file = "{}"  # which X-AnyLabeling's main function sets
    file = options.pack / "mobilesam.yaml"
    config = yaml.safe_load(file.read_text()) | {"config_file": str(file)}
    model = SegmentAnything(config, on_message=print)
    print(type(application).__name__, config["display_name"])
    report = Report(0.99, in_frame=True)
    for case in cases(options.photos, options.expected):
        photo = cv2.cvtColor(cv2.imread(str(case.image)), cv2.COLOR_BGR2RGB)
        masks = model.model.predict_masks(model.model.encode(photo), case.marks)
        assert masks.shape[:2] == (1, 1), masks.shape
        report.add(case, masks[0][0] > 0)
        model.set_auto_labeling_marks(case.marks)
        shapes = model.predict_shapes(QtGui.QImage(str(case.image)), str(case.image)).shapes
        drawn = np.zeros(case.mask.shape, np.uint8)
        for shape in shapes:
            cv2.fillPoly(drawn, [np.array([[round(p.x()), round(p.y())] for p in shape.points])], 1)
        print(f"  {len(shapes)} polygons, together IoU {iou(drawn, case.frame):.4f}")
    report.end()


if __name__ == "__main__":
    main()
