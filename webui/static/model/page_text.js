// Masks as the page shows them, see webui/view.py: run lengths along the rows as text, which masks.js reads.

import { boxOf, Runs, windowOf } from "./rle.js";
import { eachLine, windowAbove } from "./upsampling.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {import("./rle.js").Boundaries} Boundaries */

/** Return runs as text: each length a varint, seven bits a byte, in base64. @param {number[]} boundaries of runs along the rows */
function text(boundaries) {
  let bytes = "";
  let position = 0;
  for (const boundary of boundaries) {
    let run = boundary - position;
    for (; run > 127; run = Math.floor(run / 128)) bytes += String.fromCharCode((run & 127) | 128);
    bytes += String.fromCharCode(run);
    position = boundary;
  }
  return btoa(bytes);
}

/** Return the mask of logits as text. @param {Float32Array} logits 256 x 256 @param {Frame} frame whose original size is that at which the image is shown @param {number} threshold */
export function textOfLogits(logits, frame, threshold) {
  const runs = new Runs();
  const window = windowAbove(logits, frame, threshold);
  eachLine(logits, frame, window, "rows", (row, line) => {
    runs.addLine(line, row * frame.original.width + window[0], (value) => value > threshold);
  });
  return text(runs.boundaries);
}

/** Return a mask as text at the size at which its image is shown. @param {Boundaries} boundaries @param {Size} original @param {Size} shown */
export function textOf(boundaries, original, shown) {
  const [x1, y1, x2, y2] = boxOf(boundaries, original.height);
  const columns = sampled(original.width, shown.width, x1, x2);
  const rows = sampled(original.height, shown.height, y1, y2);
  if (!boundaries.length || !columns.sources.length || !rows.sources.length) return "";
  const window = windowOf(boundaries, original.height, [x1, y1, x2 + 1, y2 + 1]);
  const runs = new Runs();
  rows.sources.forEach((source, index) => {
    const start = (source - y1) * (x2 + 1 - x1) - x1;
    runs.addLine(columns.sources.map((column) => window[start + column]), (rows.first + index) * shown.width + columns.first, (value) => value !== 0);
  });
  return text(runs.boundaries);
}

/** Return the shown rows or columns of a range of the original, and the original's that they show. @param {number} original @param {number} shown @param {number} start @param {number} last */
function sampled(original, shown, start, last) {
  const all = Array.from({ length: shown }, (_, index) => Math.floor((index + 0.5) * (original / shown)));
  const first = all.findIndex((source) => source >= start);
  return first < 0 ? { first: 0, sources: [] } : { first, sources: all.slice(first).filter((source) => source <= last) };
}
