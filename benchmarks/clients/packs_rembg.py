"""A pack in rembg: its session "sam", which finds the pack in REMBG_HOME, and rembg.remove.

    pip install "rembg[cpu]==2.0.86"
    python -m benchmarks.clients.packs_rembg PACK PHOTOS expected.npz

rembg brings an image to 684 x 1024 pixels as AnyLabeling does, but rounds the resized pixels down.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import rembg
from PIL import Image

from benchmarks.clients.pack_cases import Report, arguments, cases


def main() -> None:
    """Copy the pack where its README.md says, segment, and compare the masks."""
    options = arguments(__doc__.partition("\n")[0])
    report = Report(0.95, in_frame=True)
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(options.pack, Path(home) / "models" / "sam")
        os.environ["REMBG_HOME"] = home
        session = rembg.new_session("sam")
        for case in cases(options.photos, options.expected):
            photo = Image.open(case.image)
            (mask,) = session.predict(photo, sam_prompt=case.marks)
            report.add(case, np.asarray(mask) > 127)
            cutout = rembg.remove(photo, session=session, sam_prompt=case.marks)
            opaque = (np.asarray(cutout)[..., 3] > 127).mean()
            print(f"  rembg.remove: {cutout.mode} {cutout.size}, {opaque:.1%} opaque")
    report.end()


if __name__ == "__main__":
    main()
