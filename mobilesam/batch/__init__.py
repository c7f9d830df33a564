"""Segment or encode many images, as ``mobilesam batch`` and ``mobilesam embed`` do.

from pathlib import Path
from mobilesam.batch import ModelChoice, SegmentationJob, segment_images

if __name__ == "__main__":
    report = segment_images(SegmentationJob(["photos"], Path("results"), workers=2, model=ModelChoice(threads=1)))
"""

from mobilesam._moved import moved
from mobilesam.batch.embedding import embed_images
from mobilesam.batch.job import SegmentationJob
from mobilesam.batch.journal import BadImage
from mobilesam.batch.many import SegmentedImage, segment_many
from mobilesam.batch.report import Report, StoppedError
from mobilesam.batch.run import segment_images, segment_pictures
from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted
from mobilesam.batch.sources import read_prompts_or_coco

__all__ = [
    "BadImage",
    "Everything",
    "ModelChoice",
    "Prompted",
    "Report",
    "SegmentationJob",
    "SegmentedImage",
    "StoppedError",
    "embed_images",
    "read_prompts_or_coco",
    "segment_images",
    "segment_many",
    "segment_pictures",
]

__getattr__ = moved(
    __name__, {"BadPicture": "mobilesam.batch.BadImage", "embed_pictures": "mobilesam.batch.embed_images"}
)
