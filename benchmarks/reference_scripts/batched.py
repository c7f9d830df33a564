"""A script written for the reference: prompts for two images through Sam's own forward."""

import sys

import cv2
import numpy as np
import torch
from mobile_sam import sam_model_registry
from mobile_sam.utils.transforms import ResizeLongestSide

checkpoint, photo, out = sys.argv[1:]
image = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)
sam = sam_model_registry["vit_t"](checkpoint=checkpoint)
sam.eval()
resize = ResizeLongestSide(sam.image_encoder.img_size)


def prepare(array):
    resized = resize.apply_image(array)
    return torch.as_tensor(resized, device=sam.device).permute(2, 0, 1).contiguous()


first, second = image, np.ascontiguousarray(np.rot90(image))
boxes = torch.tensor([[20, 20, 200, 180], [100, 60, 300, 250]], device=sam.device)
points = torch.tensor([[[120, 90]], [[60, 200]]], device=sam.device)
batch = [
    {
        "image": prepare(first),
        "boxes": resize.apply_boxes_torch(boxes, first.shape[:2]),
        "original_size": first.shape[:2],
    },
    {
        "image": prepare(second),
        "point_coords": resize.apply_coords_torch(points, second.shape[:2]),
        "point_labels": torch.ones(2, 1, dtype=torch.int),
        "original_size": second.shape[:2],
    },
]
outputs = sam(batch, multimask_output=False)
np.savez(
    out,
    masks=np.concatenate([output["masks"].cpu().numpy().reshape(2, -1) for output in outputs], axis=1),
    scores=np.concatenate([output["iou_predictions"].cpu().numpy() for output in outputs]),
)
