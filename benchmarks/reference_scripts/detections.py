"""A script written for the reference: a mask for each box of a detector's results list, in one loop."""

import json
import sys
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from mobile_sam import SamPredictor, sam_model_registry
from pycocotools import mask as coco_mask

checkpoint, photos, dataset, detections, out = sys.argv[1:]
sam = sam_model_registry["vit_t"](checkpoint=checkpoint)
sam.eval()
predictor = SamPredictor(sam)
names = {image["id"]: image["file_name"] for image in json.loads(Path(dataset).read_text())["images"]}
results = []
boxes = sorted(json.loads(Path(detections).read_text()), key=lambda each: each["image_id"])
for image_id, of_image in groupby(boxes, lambda each: each["image_id"]):
    of_image = list(of_image)
    image = cv2.cvtColor(cv2.imread(str(Path(photos) / names[image_id])), cv2.COLOR_BGR2RGB)
    predictor.set_image(image)
    xywh = torch.tensor([each["bbox"] for each in of_image])
    xyxy = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)
    transformed = predictor.transform.apply_boxes_torch(xyxy, image.shape[:2])
    masks, scores, _ = predictor.predict_torch(None, None, transformed, multimask_output=False)
    for each, mask, score in zip(of_image, masks[:, 0].numpy(), scores[:, 0].tolist(), strict=True):
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle["counts"] = rle["counts"].decode()
        results.append({**each, "segmentation": rle, "predicted_iou": score})
Path(out).write_text(json.dumps(results))
