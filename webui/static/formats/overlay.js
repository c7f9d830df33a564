// An image with its masks and prompts drawn over it, see `overlay` in mobilesam/visualize.py.

import { areaOf, boxOf, windowOf } from "../model/rle.js";
import { roundEven } from "./masked_image.js";
import { palette } from "./palette.js";
import { encodePng } from "./png.js";
import { contoursOf } from "./polygons.js";

/** @typedef {import("../model/geometry.js").Size} Size */
/** @typedef {import("../model/geometry.js").Box} Box */
/** @typedef {import("../model/resize.js").Rows} Rows */
/** @typedef {import("../prompt.js").Prompt} Prompt */
/** @typedef {import("./palette.js").Color} Color */
/** @typedef {import("./saving.js").SavedMask} SavedMask */
/** @typedef {{ rgb: Uint8Array, source: Uint8Array, top: number, count: number }} Band rows of the result and of the image */
/** @typedef {{ color: Color, radius: number, lines: Float32Array[], box: Box }} Strokes `lines`: x, y, x, y, ...; `box`: of all they cover */
/** @typedef {{ covered: Float32Array, box: Box }} Cover the share of each pixel of a window that lines cover; x2 and y2 are exclusive */

const FOREGROUND_COLOR = /** @type {Color} */ ([24, 160, 88]);
const BACKGROUND_COLOR = /** @type {Color} */ ([220, 50, 60]);
const WHITE = /** @type {Color} */ ([255, 255, 255]);
const SHADOW = /** @type {Color} */ ([20, 20, 20]);
const ALPHA = 0.45;
const FADED = 1.2; // pixels beside a line, where it fades from the color to nothing as in OpenCV

/** Return an RGB PNG. @param {SavedMask[]} masks @param {Rows} image */
export function overlayPng(masks, image) {
  const width = Math.max(1.5, 0.003 * Math.sqrt(image.width * image.height));
  const colors = palette(masks.length);
  const painted = masks.map(({ boundaries }, index) => (
    { boundaries, color: colors[index], area: areaOf(boundaries) }
  ));
  painted.sort((a, b) => b.area - a.area);
  const layers = painted.filter(({ area }) => area).map(({ boundaries, color }) => ({
    boundaries,
    table: tableOf(color),
    box: boxOf(boundaries, image.height),
    strokes: outlineStrokes(boundaries, image.height, color, width),
  }));
  const prompts = masks.flatMap(({ prompt }) => (prompt ? [prompt] : []));
  const marks = [boxStrokes, pointStrokes].flatMap((strokesOfPrompt) => (
    prompts.flatMap((prompt) => strokesOfPrompt(prompt, image, width))
  ));
  return encodePng(image, "rgb", (top, count) => {
    const source = image.rows(top, count);
    const band = { rgb: Uint8Array.from(source), source, top, count };
    for (const { boundaries, table, box, strokes } of layers) {
      fill(band, image, boundaries, box, table);
      for (const each of strokes) draw(band, image.width, each);
    }
    for (const each of marks) draw(band, image.width, each);
    return band.rgb;
  });
}

/** Return the values of each channel blended with a color. @param {Color} color */
function tableOf(color) {
  const blended = (/** @type {number} */ channel) => (
    Uint8Array.from({ length: 256 }, (_, value) => roundEven(value * (1 - ALPHA) + channel * ALPHA))
  );
  return color.map(blended);
}

/** Blend the image, not the masks below, with a color. @param {Band} band @param {Size} image @param {import("../model/rle.js").Boundaries} boundaries @param {Box} box @param {Uint8Array[]} table */
function fill({ rgb, source, top, count }, image, boundaries, [x1, y1, x2, y2], table) {
  const [first, last] = [Math.max(top, y1), Math.min(top + count, y2 + 1)];
  if (first >= last) return;
  const window = windowOf(boundaries, image.height, [x1, first, x2 + 1, last]);
  for (let index = 0, y = first; y < last; y++) {
    for (let place = 3 * ((y - top) * image.width + x1), x = x1; x <= x2; x++, place += 3) {
      if (!window[index++]) continue;
      for (let channel = 0; channel < 3; channel++) rgb[place + channel] = table[channel][source[place + channel]];
    }
  }
}

/** @param {import("../model/rle.js").Boundaries} boundaries @param {number} height @param {Color} color @param {number} width */
function outlineStrokes(boundaries, height, color, width) {
  const contours = contoursOf(boundaries, height, true).map(({ ring }) => smoothed(ring, width));
  const isSpeckle = (/** @type {Float32Array} */ line) => line.length / 2 - 1 <= 6 * width;
  const outlines = contours.filter((line) => !isSpeckle(line));
  // The edge makes the outline visible on any background.
  const edge = width > 2 ? [strokesOf(SHADOW, radiusOf(Math.round(width) + 1), outlines)] : [];
  // Speckles have thinner lines, because a full line would enlarge them.
  const speckles = strokesOf(color, radiusOf(1), contours.filter(isSpeckle));
  return [...edge, strokesOf(color, radiusOf(Math.round(width)), outlines), speckles];
}

/** Return a closed line: the contour as a moving average, so that it has no steps of pixels. @param {number[]} ring @param {number} width */
function smoothed(ring, width) {
  const count = ring.length / 2;
  const reach = Math.min(Math.max(1, Math.round(width)), Math.floor((count - 1) / 8));
  const line = new Float32Array(ring.length + 2);
  for (let axis = 0; axis < 2; axis++) {
    let sum = 0;
    for (let shift = -reach; shift <= reach; shift++) sum += ring[2 * ((shift + count) % count) + axis];
    for (let place = 0; place <= count; place++) {
      line[2 * place + axis] = sum / (2 * reach + 1);
      sum += ring[2 * ((place + reach + 1) % count) + axis] - ring[2 * ((place - reach + count) % count) + axis];
    }
  }
  return line;
}

/** @param {Prompt} prompt @param {Size} size @param {number} width */
function boxStrokes({ box }, size, width) {
  if (!box) return [];
  const limits = [size.width - 1, size.height - 1];
  const [x1, y1, x2, y2] = box.map((value, index) => Math.min(Math.max(value, 0), limits[index % 2]));
  const line = Float32Array.of(x1, y1, x2, y1, x2, y2, x1, y2, x1, y1);
  const thickness = Math.max(1, Math.round(0.7 * width));
  return [strokesOf(SHADOW, radiusOf(thickness + 2), [line]), strokesOf(WHITE, radiusOf(thickness), [line])];
}

/** Return dots with a white rim and a plus or minus sign. @param {Prompt} prompt @param {Size} size @param {number} width */
function pointStrokes({ points }, size, width) {
  const radius = Math.max(6, 3.2 * width);
  const arm = radius * 0.55;
  const stroke = Math.max(1, Math.round(radius * 0.3));
  const shown = points.filter(([x, y]) => x >= 0 && y >= 0 && x < size.width && y < size.height);
  return shown.flatMap(([x, y, label]) => {
    const isForeground = label === 1;
    const dot = [Float32Array.of(x, y, x, y)];
    const sign = [Float32Array.of(x - arm, y, x + arm, y)];
    if (isForeground) sign.push(Float32Array.of(x, y - arm, x, y + arm));
    return [
      strokesOf(SHADOW, radius * 1.42, dot),
      strokesOf(WHITE, radius * 1.32, dot),
      strokesOf(isForeground ? FOREGROUND_COLOR : BACKGROUND_COLOR, radius, dot),
      strokesOf(WHITE, radiusOf(stroke), sign),
    ];
  });
}

/** Return the distance from the middle of a line up to which OpenCV's pixels have its color. @param {number} thickness */
function radiusOf(thickness) {
  return thickness === 1 ? 0 : Math.ceil(thickness / 2);
}

/** @param {Color} color @param {number} radius @param {Float32Array[]} lines @returns {Strokes} */
function strokesOf(color, radius, lines) {
  let [x1, y1, x2, y2] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const line of lines) {
    for (let index = 0; index < line.length; index += 2) {
      [x1, x2] = [Math.min(x1, line[index]), Math.max(x2, line[index])];
      [y1, y2] = [Math.min(y1, line[index + 1]), Math.max(y2, line[index + 1])];
    }
  }
  const reach = radius + FADED;
  const [left, top, right, bottom] = [x1 - reach, y1 - reach, x2 + reach, y2 + reach].map(Math.ceil);
  return { color, radius, lines, box: [left, top, right + 1, bottom + 1] };
}

/** Draw lines with round ends. @param {Band} band @param {number} width of the image @param {Strokes} strokes */
function draw({ rgb, top, count }, width, { color, radius, lines, box }) {
  const [x1, y1] = [Math.max(0, box[0]), Math.max(top, box[1])];
  const [x2, y2] = [Math.min(width, box[2]), Math.min(top + count, box[3])];
  if (x1 >= x2 || y1 >= y2) return;
  // The largest share of any of the lines, so that their ends are not blended twice.
  const covered = new Float32Array((x2 - x1) * (y2 - y1));
  const target = { covered, box: /** @type {Box} */ ([x1, y1, x2, y2]) };
  for (const line of lines) {
    for (let index = 0; index + 3 < line.length; index += 2) cover(target, line, index, radius);
  }
  for (let index = 0, y = y1; y < y2; y++) {
    for (let place = 3 * ((y - top) * width + x1), x = x1; x < x2; x++, place += 3) {
      const share = covered[index++];
      if (!share) continue;
      for (let channel = place; channel < place + 3; channel++) {
        rgb[channel] += Math.round((color[channel - place] - rgb[channel]) * share);
      }
    }
  }
}

/** Cover the pixels near a segment of a line. @param {Cover} target @param {Float32Array} line @param {number} index of the segment's first number @param {number} radius */
function cover({ covered, box }, line, index, radius) {
  const [x1, y1, x2, y2] = [line[index], line[index + 1], line[index + 2], line[index + 3]];
  const reach = radius + FADED;
  const [dx, dy] = [x2 - x1, y2 - y1];
  const square = dx * dx + dy * dy;
  const left = Math.max(box[0], Math.ceil(Math.min(x1, x2) - reach));
  const right = Math.min(box[2] - 1, Math.floor(Math.max(x1, x2) + reach));
  const bottom = Math.min(box[3] - 1, Math.floor(Math.max(y1, y2) + reach));
  for (let y = Math.max(box[1], Math.ceil(Math.min(y1, y2) - reach)); y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const along = square ? Math.min(Math.max(((x - x1) * dx + (y - y1) * dy) / square, 0), 1) : 0;
      const distance = Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
      const share = Math.min(reach - distance, 1);
      const place = (y - box[1]) * (box[2] - box[0]) + x - box[0];
      if (share > covered[place]) covered[place] = share;
    }
  }
}
