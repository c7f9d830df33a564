// YOLO's segmentation labels and the names of their classes, see mobilesam/formats/yolo.py.

import { decimals, labelOf, labelsOf } from "./masked_image.js";
import { cornersOf, oneRingOf } from "./polygons.js";

/** @param {import("./masked_image.js").MaskedImage} image */
export function yoloText({ width, height, masks }) {
  const labels = labelsOf(masks);
  const lines = masks.map((mask) => {
    // A quarter of a pixel more, so that readers that cut off decimals and those that round get the same pixel.
    const corners = cornersOf(oneRingOf(mask.boundaries, height)).map(([x, y]) => `${decimals((x + 0.25) / width, 6)} ${decimals((y + 0.25) / height, 6)}`);
    return corners.length ? `${labels.indexOf(labelOf(mask))} ${corners.join(" ")}\n` : "";
  });
  return lines.join("");
}

/** Return the YAML that names the classes. @param {string[]} labels */
export function yoloNamesText(labels) {
  return `nc: ${labels.length}\nnames:\n${labels.map((label, index) => `  ${index}: ${quoted(label)}\n`).join("")}`;
}

/** Return a string in quotes, in ASCII. @param {string} text */
function quoted(text) {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
