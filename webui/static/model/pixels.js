// The pixels of an image that a page has, and the input of the encoder.

import { refused } from "./errors.js";
import { frameOf, IMAGE_SIZE } from "./geometry.js";
import { resize } from "./resize.js";

/** @typedef {import("./resize.js").Rows} Rows */
/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {ImageData | ImageBitmap | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement} ImageSource */

const MAX_PIXELS = 200e6; // the RGBA of more does not fit into the memory that browsers give to a canvas
// Means and standard deviations of ImageNet's RGB channels, as in mobilesam/image/model_input.py.
const MEAN = [123.675, 116.28, 103.53];
const DEVIATION = [58.395, 57.12, 57.375];

/** Return an image as rows of RGB. Transparent pixels are blended with white. @param {ImageData | ImageBitmap} source @returns {Rows} */
export function rowsOf(source) {
  const { width, height } = source;
  if (source instanceof ImageData) {
    return { width, height, rows: (top, count) => opaque(source.data.subarray(4 * width * top, 4 * width * (top + count))) };
  }
  // One band of the bitmap at a time, because a canvas of all of it would take as much memory again.
  return { width, height, rows: (top, count) => opaque(drawn(source, top, count).data) };
}

/** @param {ImageBitmap} bitmap @param {number} top @param {number} count */
function drawn(bitmap, top, count) {
  const canvas = new OffscreenCanvas(bitmap.width, count);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("The browser cannot read the pixels of an image: it has no 2D canvas.");
  context.drawImage(bitmap, 0, -top);
  return context.getImageData(0, 0, bitmap.width, count);
}

/** Return RGB on a white background. @param {Uint8ClampedArray | Uint8Array} rgba */
export function opaque(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let source = 0, target = 0; source < rgba.length; source += 4) {
    const alpha = rgba[source + 3];
    for (let channel = 0; channel < 3; channel++) {
      const value = rgba[source + channel];
      rgb[target++] = alpha === 255 ? value : Math.floor((value * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
  return rgb;
}

/** Return what a page has as something that can be sent to a worker. @param {ImageSource} source @returns {Promise<ImageData | ImageBitmap>} */
export async function transferable(source) {
  const isElement = typeof HTMLImageElement !== "undefined" && source instanceof HTMLImageElement;
  if (isElement) await decoded(source);
  const size = isElement ? { width: source.naturalWidth, height: source.naturalHeight } : { width: source?.width, height: source?.height };
  if (!(size.width > 0 && size.height > 0)) {
    throw refused("image", "be an ImageBitmap, ImageData, canvas or <img> with pixels", describe(source), "wait until it has loaded");
  }
  checkSize(size);
  if (source instanceof ImageData) return source;
  try {
    return await createImageBitmap(source, { colorSpaceConversion: "none" });
  } catch (error) {
    throw refused("image", "be one that the browser can read", `${describe(source)} (${error instanceof Error ? error.message : error})`, "open another file");
  }
}

/** Check the size of an image file before all of it is decoded. @param {File} file */
export async function checkPixels(file) {
  const element = new Image();
  element.src = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      element.onload = resolve;
      element.onerror = () => reject(refused("image", "be one that the browser can decode", file.name, "open a JPEG, PNG or WebP"));
    });
    checkSize({ width: element.naturalWidth, height: element.naturalHeight });
  } finally {
    URL.revokeObjectURL(element.src);
  }
}

/** @param {import("./geometry.js").Size} size */
function checkSize({ width, height }) {
  if (width * height > MAX_PIXELS) throw refused("image", `have at most ${MAX_PIXELS / 1e6} million pixels`, `${width} x ${height}`, "resize it first");
}

/** @param {HTMLImageElement} element */
async function decoded(element) {
  try {
    await element.decode();
  } catch {
    throw refused("image", "be one that the browser can decode", element.currentSrc || "an <img> without a source", "open another file");
  }
}

/** @param {unknown} value */
function describe(value) {
  return value === null || value === undefined ? String(value) : value.constructor?.name ?? typeof value;
}

/**
 * Return the input of the encoder, 3 x 1024 x 1024, normalized and padded with zeros below and to the right.
 * @param {Rows} image
 * @returns {{ pixels: Float32Array<ArrayBuffer>, frame: Frame }}
 */
export function encoderInput(image) {
  const frame = frameOf(image);
  const { width, height } = frame.input;
  const rgb = resize(image, frame.input);
  const plane = IMAGE_SIZE * IMAGE_SIZE;
  const pixels = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    const normalized = Float32Array.from({ length: 256 }, (_, value) => Math.fround(value - Math.fround(MEAN[channel])) / Math.fround(DEVIATION[channel]));
    for (let row = 0; row < height; row++) {
      let target = channel * plane + row * IMAGE_SIZE;
      for (let source = 3 * row * width + channel, end = 3 * (row + 1) * width; source < end; source += 3) pixels[target++] = normalized[rgb[source]];
    }
  }
  return { pixels, frame };
}
