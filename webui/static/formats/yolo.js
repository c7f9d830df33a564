// YOLO's segmentation labels and the names of their classes, see mobilesam/formats/yolo.py.

import { decimals, labelOf, labelsOf } from "./masked_image.js";
import { cornersOf, oneRingOf } from "./polygons.js";

/** @param {import("./masked_image.js").MaskedImage} image */
export function yoloText({ width, height, masks }) {
  const labels = labelsOf(masks);
  const lines = masks.map((mask) => {
    // A quarter of a pixel more, so that readers that cut off decimals and those that round get the same pixel.
    const ring = cornersOf(oneRingOf(mask.boundaries, height));
    const shares = ring.flatMap(([x, y]) => [(x + 0.25) / width, (y + 0.25) / height]);
    const corners = shares.map((share) => decimals(share, 6)).join(" ");
    return corners && `${labels.indexOf(labelOf(mask))} ${corners}\n`;
  });
  return lines.join("");
}

/** Return the YAML that names the classes. @param {string[]} labels */
export function yoloNamesText(labels) {
  return `nc: ${labels.length}\nnames:\n${labels.map((label, index) => `  ${index}: ${quoted(label)}\n`).join("")}`;
}

/** Return a string in quotes, in ASCII. @param {string} text */
function quoted(text) {
  const escaped = (/** @type {string} */ unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, escaped);
}
