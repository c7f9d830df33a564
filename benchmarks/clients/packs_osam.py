"""A pack in osam, and in labelme's session of osam.

pip install osam==0.8.1 labelme==6.3.1
QT_QPA_PLATFORM=offscreen python -m benchmarks.clients.packs_osam PACK PHOTOS expected.npz
"""

from __future__ import annotations

import sys

import numpy as np
import osam
from PIL import Image

from benchmarks.clients.pack_cases import Case, Report, arguments, cases


def whole(case: Case, response: osam.types.GenerateResponse) -> np.ndarray:
    """Return the mask of a response in the image."""
    (annotation,) = response.annotations
    box, mask = annotation.bounding_box, np.zeros(case.mask.shape, bool)
    mask[box.ymin : box.ymax + 1, box.xmin : box.xmax + 1] = annotation.mask
    return mask


def main() -> None:
    """Register the model as the pack's README.md says, segment in both, and compare the masks."""
    options = arguments(__doc__.partition("\n")[0])
    sys.path.insert(0, str(options.pack))
    import mobilesam_osam
    from labelme._automation import OsamSession

    mobilesam_osam.register("mobilesam:latest")
    mobilesam_osam.register(mobilesam_osam.LABELME_NAME)
    session = OsamSession(mobilesam_osam.LABELME_NAME)
    report = Report(0.99)
    for case in cases(options.photos, options.expected):
        photo = np.asarray(Image.open(case.image))
        points, labels = case.labeled_points
        prompt = osam.types.Prompt(points=points, point_labels=labels)
        request = osam.types.GenerateRequest(model="mobilesam", image=photo, prompt=prompt)
        in_osam = whole(case, osam.apis.generate(request))
        in_labelme = whole(case, session.run(photo, case.image.name, points, labels))
        report.add(case, in_osam)
        print(f"  in labelme: {int((in_labelme != in_osam).sum())} pixels differ from osam's")
    report.end()


if __name__ == "__main__":
    main()
