// COCO's instance format, see mobilesam/formats/coco.py.

import { areaOf, toCoco } from "../model/rle.js";
import { detailsOf, known, labelOf, labelsOf, pixelBox } from "./masked_image.js";

/** @param {import("./masked_image.js").MaskedImage} image */
export function cocoText(image) {
  const { name, width, height, masks } = image;
  const labels = labelsOf(masks);
  const annotations = masks.map((mask, index) => ({
    id: index + 1,
    image_id: 1,
    category_id: labels.indexOf(labelOf(mask)) + 1,
    segmentation: toCoco(mask.boundaries, image),
    area: areaOf(mask.boundaries),
    bbox: pixelBox(mask, image),
    iscrowd: 0,
    // JSON leaves out what is undefined.
    score: known(mask.predicted_iou) ?? undefined,
    stability_score: known(mask.stability_score) ?? undefined,
    ...detailsOf(mask),
    point_coords: mask.point_coords,
  }));
  const categories = labels.map((label, index) => ({ id: index + 1, name: label, supercategory: "" }));
  return `${JSON.stringify({ images: [{ id: 1, file_name: name, width, height }], annotations, categories })}\n`;
}
