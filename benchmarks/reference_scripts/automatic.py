"""A script written for the reference: all masks of an image."""

import sys

import cv2
import numpy as np
from mobile_sam import SamAutomaticMaskGenerator, sam_model_registry

checkpoint, photo, out = sys.argv[1:]
image = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)

sam = sam_model_registry["vit_t"](checkpoint=checkpoint)
sam.eval()
generator = SamAutomaticMaskGenerator(sam, points_per_side=8, pred_iou_thresh=0.86, stability_score_thresh=0.92)
records = generator.generate(image)
records = sorted(records, key=lambda record: record["area"], reverse=True)
np.savez(
    out,
    masks=np.stack([record["segmentation"] for record in records]),
    scores=np.array([record["predicted_iou"] for record in records]),
    boxes=np.array([record["bbox"] for record in records]),
)
