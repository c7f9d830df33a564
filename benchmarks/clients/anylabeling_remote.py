"""X-AnyLabeling's remote mode with a server: its class RemoteServer, from the list of models to shapes.

    mobilesam serve                                    # MOBILESAM_API_KEYS=KEY tries keys as well
    pip install x-anylabeling-cvhub==4.2.1
    QT_QPA_PLATFORM=offscreen python -m benchmarks.clients.anylabeling_remote URL PHOTOS expected.npz --key KEY

``expected.npz`` is from pack_expected; the server chooses masks as ``SamPredictor.predict_one`` does. Polygons are
simplified, and lose small parts and holes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import anylabeling.config
import cv2
import numpy as np
from anylabeling.services.auto_labeling.remote_server import RemoteServer
from PyQt6 import QtGui, QtWidgets

from benchmarks.clients.pack_cases import Report, cases


def main() -> None:
    """Segment with the first model of the server, print the IoU of polygons, and compare rectangles with them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("photos", type=Path, help="the folder that mobilesam samples wrote")
    parser.add_argument("expected", type=Path, help="the file that pack_expected wrote")
    parser.add_argument("--key", default="")
    options = parser.parse_args()
    application = QtWidgets.QApplication([])  # kept until the end
    settings = {"remote_server_settings": {"server_url": options.url, "api_key": options.key}}
    anylabeling.config.current_config_file = json.dumps(settings)  # which X-AnyLabeling's main function sets
    messages: list[str] = []
    model = RemoteServer({"type": "remote_server", "display_name": "Remote-Server", "timeout": 180}, messages.append)
    models = model.get_available_models()
    print(type(application).__name__, model.server_url, list(models))
    model.set_model_id(next(iter(models)))
    report = Report(0.95)
    for case in cases(options.photos, options.expected):
        whole = [
            {"type": mark["type"], "data": [int(number) for number in mark["data"]], "label": mark.get("label", 1)}
            for mark in case.marks
        ]  # as the canvas makes them
        model.set_auto_labeling_marks(whole)
        drawn = np.zeros(case.mask.shape, np.uint8)
        model.set_task("polygon")
        result = model.predict_shapes(QtGui.QImage(str(case.image)), str(case.image))
        rings = [np.array([[round(p.x()), round(p.y())] for p in shape.points]) for shape in result.shapes]
        cv2.fillPoly(drawn, rings, 1)
        report.add(case._replace(mask=case.one, padded=None), drawn)
        model.set_task("rectangle")
        (shape,) = model.predict_shapes(QtGui.QImage(str(case.image)), str(case.image)).shapes
        corners = np.array([[p.x(), p.y()] for p in shape.points])
        every = np.concatenate(rings)
        near = np.abs(np.r_[every.min(0) - corners.min(0), every.max(0) - corners.max(0)]).max()
        print(
            f"  {len(rings)} polygons, {len(every)} corners, replace {result.replace}, rectangle within {near:g} pixels"
        )
    model.set_auto_labeling_marks([{"type": "point", "data": [10**6, 0], "label": 1}])
    refused = model.predict_shapes(QtGui.QImage(str(case.image)), str(case.image))
    print(f"a point outside: {len(refused.shapes)} shapes, {messages}")
    report.end()


if __name__ == "__main__":
    main()
