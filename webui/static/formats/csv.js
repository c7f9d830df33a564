// A table of masks, see mobilesam/formats/csv.py.

import { areaOf } from "../model/rle.js";
import { decimals, known, pixelBox } from "./masked_image.js";

const COLUMNS = [
  "id", "file", "area", "bbox_x", "bbox_y", "bbox_width", "bbox_height",
  "predicted_iou", "stability_score", "point_x", "point_y", "crop_x", "crop_y", "crop_width", "crop_height",
  "label", "score", "detection_id", "confidence",
];

/** @param {import("./masked_image.js").MaskedImage} image */
export function csvText(image) {
  const lines = image.masks.map((mask, index) => [
    ...[index + 1, "", areaOf(mask.boundaries), ...pixelBox(mask, image)],
    ...[score(mask.predicted_iou), score(mask.stability_score), ...(mask.point_coords[0] ?? ["", ""])],
    ...[0, 0, image.width, image.height, quoted(mask.label), "", "", score(mask.confidence)],
  ]);
  return [COLUMNS, ...lines].map((line) => `${line.join(",")}\n`).join("");
}

/** @param {number | null} value */
function score(value) {
  return value === null || known(value) === null ? "" : decimals(value, 4);
}

/** @param {string} text */
function quoted(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
