// Masks in the form that the server sends: run lengths along rows, starting with the background, as varints in base64.

export const COLOR = [46, 125, 255]; // of the mask of a prompt

/** Return the ends of runs (background, foreground, background ...) as positions in the image. */
export function runEnds(text) {
  const bytes = atob(text);
  const ends = [];
  let position = 0;
  let value = 0;
  let shift = 0;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes.charCodeAt(index);
    value += (byte & 0x7f) * 2 ** shift;
    if (byte & 0x80) {
      shift += 7;
    } else {
      position += value;
      ends.push(position);
      value = shift = 0;
    }
  }
  return ends;
}

/** Call `paint(start, end)` for each run of foreground. */
function eachRun(text, paint) {
  const ends = runEnds(text);
  for (let index = 0; index + 1 < ends.length; index += 2) paint(ends[index], ends[index + 1]);
}

/** Return a mask as one byte a pixel, 1 inside. */
export function unpack(text, { width, height }) {
  const pixels = new Uint8Array(width * height);
  eachRun(text, (start, end) => pixels.fill(1, start, end));
  return pixels;
}

/**
 * Return the outlines of a mask, outer borders and holes, as a path in pixels of the mask. The path goes through the
 * middle of pixel edges, which smooths the stairs. Pixels that only touch at a corner have separate outlines.
 */
export function outlines(text, { width, height }) {
  const mask = unpack(text, { width, height });
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] === 1;
  const seen = new Uint8Array(width * height); // pixels whose upper edge is part of a path already
  const path = new Path2D();
  eachRun(text, (start, end) => {
    for (let pixel = start; pixel < end; pixel++) {
      const [left, top] = [pixel % width, Math.floor(pixel / width)];
      if (!seen[pixel] && !inside(left, top - 1)) follow(path, inside, seen, width, left, top);
    }
  });
  return path;
}

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up
const AHEAD_LEFT = [[0, -1], [0, 0], [-1, 0], [-1, -1]]; // from a corner to the pixel ahead, by direction
const AHEAD_RIGHT = [[0, 0], [-1, 0], [-1, -1], [0, -1]];

/** Follow a border once from the upper left corner of a pixel, with the mask on the right. */
function follow(path, inside, seen, width, left, top) {
  let [x, y, direction] = [left, top, 0];
  let first = true;
  do {
    if (direction === 0) seen[y * width + x] = 1;
    const [stepX, stepY] = STEPS[direction];
    if (first) path.moveTo(x + stepX / 2, y + stepY / 2);
    else path.lineTo(x + stepX / 2, y + stepY / 2);
    first = false;
    x += stepX;
    y += stepY;
    if (!inside(x + AHEAD_RIGHT[direction][0], y + AHEAD_RIGHT[direction][1])) direction = (direction + 1) % 4;
    else if (inside(x + AHEAD_LEFT[direction][0], y + AHEAD_LEFT[direction][1])) direction = (direction + 3) % 4;
  } while (x !== left || y !== top || direction !== 0);
  path.closePath();
}

/** A mask to paint; its canvas and its path are made on first use, since most candidates are never shown. */
export class Layer {
  #canvas = null;
  #path = null;

  constructor(rle, size, color) {
    Object.assign(this, { rle, size, color });
  }

  get canvas() {
    this.#canvas ??= tinted(this.rle, this.size, this.color);
    return this.#canvas;
  }

  get path() {
    this.#path ??= outlines(this.rle, this.size);
    return this.#path;
  }
}

/** Return a canvas with the mask in a color, [r, g, b], on a transparent background. */
export function tinted(text, size, color) {
  const canvas = new OffscreenCanvas(size.width, size.height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(size.width, size.height);
  fillRuns(new Uint32Array(image.data.buffer), text, color);
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Write a color, [r, g, b], at the mask's pixels, four bytes each. */
export function fillRuns(pixels, text, [red, green, blue]) {
  const value = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // browsers run on little-endian machines
  eachRun(text, (start, end) => pixels.fill(value, start, end));
}

/** Return the segment at each pixel: its index + 1, or 0; smaller segments are on top. */
export function segmentMap(segments, { width, height }) {
  const map = new Uint16Array(width * height);
  const order = segments.map((_, index) => index).sort((a, b) => segments[b].area - segments[a].area);
  for (const index of order) eachRun(segments[index].rle, (start, end) => map.fill(index + 1, start, end));
  return map;
}
