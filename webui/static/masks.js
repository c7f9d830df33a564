// Masks as text: run lengths along rows, starting with the background, as varints in base64. See webui/view.py.

/** @typedef {import("./engine.js").Size} Size */
/** @typedef {import("./engine.js").Area} Area */
/** @typedef {import("./engine.js").Color} Color */

/** Return the ends of runs (background, foreground, background ...) as positions in the image. @param {string} text */
export function runEnds(text) {
  const bytes = atob(text);
  /** @type {number[]} */
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

/** Return the smallest area that contains the runs; without width and height if there are none. @param {number[]} ends @param {number} width @returns {Area} */
export function boundsOf(ends, width) {
  let [left, top, right, bottom] = [width, Infinity, 0, 0];
  for (let index = 0; index + 1 < ends.length; index += 2) {
    const [first, last] = [ends[index], ends[index + 1] - 1];
    if (last < first) continue;
    const [firstRow, lastRow] = [Math.floor(first / width), Math.floor(last / width)];
    top = Math.min(top, firstRow);
    bottom = Math.max(bottom, lastRow + 1);
    left = Math.min(left, firstRow === lastRow ? first % width : 0);
    right = Math.max(right, firstRow === lastRow ? (last % width) + 1 : width);
  }
  return right > left ? { x: left, y: top, width: right - left, height: bottom - top } : { x: 0, y: 0, width: 0, height: 0 };
}

/** Call `paint(start, end)` for each run of foreground. @param {number[]} ends @param {(start: number, end: number) => void} paint */
function eachRun(ends, paint) {
  for (let index = 0; index + 1 < ends.length; index += 2) paint(ends[index], ends[index + 1]);
}

/** Call `paint(start, end)` for each run of foreground, as positions in a part of the image. @param {number[]} ends @param {number} width @param {Area} area @param {(start: number, end: number) => void} paint */
function eachRunIn(ends, width, area, paint) {
  eachRun(ends, (start, end) => {
    while (start < end) { // a run may go over several rows
      const row = Math.floor(start / width);
      const stop = Math.min(end, (row + 1) * width);
      const base = (row - area.y) * area.width - area.x - row * width;
      paint(start + base, stop + base);
      start = stop;
    }
  });
}

/** Return a part of a mask as one byte a pixel, 1 inside. @param {number[]} ends @param {number} width @param {Area} area */
export function unpack(ends, width, area) {
  const pixels = new Uint8Array(area.width * area.height);
  eachRunIn(ends, width, area, (start, end) => pixels.fill(1, start, end));
  return pixels;
}

/**
 * Call `move(x, y)` and `line(x, y)` along the outlines of a mask, outer borders and holes. The path goes through the
 * middle of pixel edges, which smooths the stairs. Pixels that only touch at a corner have separate outlines.
 * @param {Uint8Array} mask one byte a pixel
 * @param {Size} size
 * @param {{ move: (x: number, y: number) => void, line: (x: number, y: number) => void, close: () => void }} pen
 */
export function traceOutlines(mask, { width, height }, pen) {
  const inside = (/** @type {number} */ x, /** @type {number} */ y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] === 1;
  const seen = new Uint8Array(width * height); // pixels whose upper edge is part of a path already
  for (let pixel = 0; pixel < mask.length; pixel++) {
    if (!mask[pixel] || seen[pixel]) continue;
    const [left, top] = [pixel % width, Math.floor(pixel / width)];
    if (!inside(left, top - 1)) follow(pen, inside, seen, width, left, top);
  }
}

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up
const AHEAD_LEFT = [[0, -1], [0, 0], [-1, 0], [-1, -1]]; // from a corner to the pixel ahead, by direction
const AHEAD_RIGHT = [[0, 0], [-1, 0], [-1, -1], [0, -1]];

/**
 * Follow a border once from the upper left corner of a pixel, with the mask on the right.
 * @param {Parameters<typeof traceOutlines>[2]} pen
 * @param {(x: number, y: number) => boolean} inside
 * @param {Uint8Array} seen @param {number} width @param {number} left @param {number} top
 */
function follow(pen, inside, seen, width, left, top) {
  let [x, y, direction] = [left, top, 0];
  let first = true;
  do {
    if (direction === 0) seen[y * width + x] = 1;
    const [stepX, stepY] = STEPS[direction];
    if (first) pen.move(x + stepX / 2, y + stepY / 2);
    else pen.line(x + stepX / 2, y + stepY / 2);
    first = false;
    x += stepX;
    y += stepY;
    if (!inside(x + AHEAD_RIGHT[direction][0], y + AHEAD_RIGHT[direction][1])) direction = (direction + 1) % 4;
    else if (inside(x + AHEAD_LEFT[direction][0], y + AHEAD_LEFT[direction][1])) direction = (direction + 3) % 4;
  } while (x !== left || y !== top || direction !== 0);
  pen.close();
}

/** A mask to paint. Its canvas and its path cover only the area of the mask, and are made on first use. */
export class Layer {
  /** @type {OffscreenCanvas | null} */
  #canvas = null;
  /** @type {Path2D | null} */
  #path = null;

  /** @param {string} rle @param {Size} size of the image as shown @param {Color} color */
  constructor(rle, size, color) {
    this.ends = runEnds(rle);
    this.size = size;
    this.color = color;
    this.area = boundsOf(this.ends, size.width);
  }

  get isEmpty() {
    return this.area.width === 0;
  }

  /** The mask in its color on a transparent background. */
  get canvas() {
    if (!this.#canvas) {
      const { area } = this;
      this.#canvas = new OffscreenCanvas(Math.max(1, area.width), Math.max(1, area.height));
      const context = contextOf(this.#canvas);
      const image = context.createImageData(this.#canvas.width, this.#canvas.height);
      fill(new Uint32Array(image.data.buffer), this, area);
      context.putImageData(image, 0, 0);
    }
    return this.#canvas;
  }

  /** The outlines, in pixels of the image as shown. */
  get path() {
    if (!this.#path) {
      const path = new Path2D();
      const { x: left, y: top } = this.area;
      traceOutlines(unpack(this.ends, this.size.width, this.area), this.area, {
        move: (x, y) => path.moveTo(left + x, top + y),
        line: (x, y) => path.lineTo(left + x, top + y),
        close: () => path.closePath(),
      });
      this.#path = path;
    }
    return this.#path;
  }
}

/** Write the color of a mask into pixels of four bytes. @param {Uint32Array} pixels @param {Layer} layer @param {Area} area of the pixels */
function fill(pixels, { ends, size, color: [red, green, blue] }, area) {
  const value = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // browsers run on little-endian machines
  eachRunIn(ends, size.width, area, (start, end) => pixels.fill(value, start, end));
}

/** Return a canvas with all masks, the earlier ones below. @param {Layer[]} layers @param {Size} size */
export function paintAll(layers, size) {
  const canvas = new OffscreenCanvas(size.width, size.height);
  const context = contextOf(canvas);
  const image = context.createImageData(size.width, size.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (const layer of layers) fill(pixels, layer, { x: 0, y: 0, ...size });
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Return the mask at each pixel: its index + 1, or 0; smaller masks are on top. @param {Layer[]} layers @param {Size} size */
export function indexMap(layers, { width, height }) {
  const map = new Uint16Array(width * height);
  for (const index of bySize(layers)) eachRun(layers[index].ends, (start, end) => map.fill(index + 1, start, end));
  return map;
}

/** Return the number of pixels of a mask. @param {number[]} ends */
export function sizeOf(ends) {
  let size = 0;
  eachRun(ends, (start, end) => { size += end - start; });
  return size;
}

/** Return the indices of masks, the largest first. @param {Layer[]} layers */
export function bySize(layers) {
  const pixels = layers.map(({ ends }) => sizeOf(ends));
  return layers.map((_, index) => index).sort((a, b) => pixels[b] - pixels[a]);
}

/** @param {OffscreenCanvas | HTMLCanvasElement} canvas */
export function contextOf(canvas) {
  const context = /** @type {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D | null} */ (canvas.getContext("2d"));
  if (!context) throw new Error("The browser cannot draw: it has no 2D canvas.");
  return context;
}
