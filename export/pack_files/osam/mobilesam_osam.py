"""Use the files beside this module in osam and labelme.

``python mobilesam_osam.py`` starts labelme, in which "Sam (speed)" then uses these files.
"""

from pathlib import Path

import osam

FOLDER = Path(__file__).resolve().parent
LABELME_NAME = "sam:100m"  # of "Sam (speed)"


class File(osam.types.Blob):
    """A file of this folder, which osam need not download."""

    @property
    def path(self):
        return str(FOLDER / self.url)

    def pull(self, *args, **kwargs):
        """Do nothing: the file is here."""

    def remove(self):
        """Do nothing: the file belongs to this folder."""


def register(name="mobilesam:latest"):
    """Add the model to those of osam, or replace the one of the same name."""
    sam = osam.apis.get_model_type_by_name("sam:100m")
    files = {part: File(url=f"{part}.onnx", hash=f"mobilesam-{part}") for part in ("encoder", "decoder")}
    model = type("MobileSam", (sam,), {"name": name, "_blobs": files})
    others = [known for known in osam.apis.registered_model_types if known.name != name]
    osam.apis.registered_model_types[:] = [model, *others]


if __name__ == "__main__":
    from labelme.__main__ import main

    register(LABELME_NAME)
    main()
