// labelme's JSON, see mobilesam/formats/labelme.py: one polygon for each part of an object.

import { decimals, detailsOf, known, labelOf } from "./masked_image.js";
import { cornersOf, ringsOf } from "./polygons.js";

const VERSION = "5.5.0"; // the release whose fields these are

/** @param {import("./masked_image.js").MaskedImage} image */
export function labelmeText({ name, width, height, masks }) {
  const shapes = masks.flatMap((mask, index) => ringsOf(mask.boundaries, height).map((ring) => ({
    label: labelOf(mask),
    points: cornersOf(ring),
    group_id: index + 1,
    description: descriptionOf(mask),
    shape_type: "polygon",
    flags: {},
    mask: null,
  })));
  const image = { imagePath: name, imageData: null, imageHeight: height, imageWidth: width };
  return `${JSON.stringify({ version: VERSION, flags: {}, shapes, ...image }, null, 1)}\n`;
}

/** @param {import("./saving.js").SavedMask} mask */
function descriptionOf(mask) {
  const about = Object.entries({ predicted_iou: known(mask.predicted_iou), ...detailsOf(mask) });
  return about.flatMap(([key, value]) => (value === null ? [] : [`${key} ${decimals(value, 4)}`])).join("\n");
}
