"""A script written for the reference: one image, a point, a box, a refinement."""

import sys

import cv2
import numpy as np
from mobile_sam import SamPredictor, sam_model_registry
from mobile_sam.utils.transforms import ResizeLongestSide

checkpoint, photo, out = sys.argv[1:]
image = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)
height, width = image.shape[:2]

sam = sam_model_registry["vit_t"](checkpoint=checkpoint)
sam.to(device="cpu")
sam.eval()
predictor = SamPredictor(sam)
predictor.set_image(image)

point = np.array([[width // 2, height // 2]])
masks, scores, logits = predictor.predict(point_coords=point, point_labels=np.array([1]), multimask_output=True)
refined, _, _ = predictor.predict(
    point_coords=point,
    point_labels=np.array([1]),
    mask_input=logits[np.argmax(scores), :, :][None, :, :],
    multimask_output=False,
)
box = np.array([width // 4, height // 4, 3 * width // 4, 3 * height // 4])
boxed, _, _ = predictor.predict(point_coords=None, point_labels=None, box=box[None, :], multimask_output=False)
transform = ResizeLongestSide(sam.image_encoder.img_size)
np.savez(
    out,
    masks=np.concatenate([masks, refined, boxed]),
    scores=scores,
    frame=transform.apply_boxes(box[None], image.shape[:2]),
)
