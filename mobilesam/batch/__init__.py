"""Many pictures at once: what ``mobilesam batch`` and ``mobilesam embed`` do, for Python.

from pathlib import Path
from mobilesam.batch import ModelChoice, SegmentationJob, segment_images

if __name__ == "__main__":
    report = segment_images(SegmentationJob(["photos"], Path("results"), workers=2, model=ModelChoice(threads=1)))
"""

from mobilesam.batch.embedding import embed_pictures
from mobilesam.batch.job import SegmentationJob
from mobilesam.batch.journal import BadPicture
from mobilesam.batch.run import Report, StoppedError, segment_images, segment_pictures
from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted
from mobilesam.batch.sources import read_prompts_or_coco

__all__ = [
    "BadPicture",
    "Everything",
    "ModelChoice",
    "Prompted",
    "Report",
    "SegmentationJob",
    "StoppedError",
    "embed_pictures",
    "read_prompts_or_coco",
    "segment_images",
    "segment_pictures",
]
