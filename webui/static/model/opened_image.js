// The image file that a page has open: its pixels, and parts of it as JPEG.

import { sha256Of } from "./digest.js";
import { refused } from "./errors.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("../engine.js").Area} Area */

const PREVIEW_SIDE = 2048; // more pixels than most windows show, as in webui/view.py
const KEY_LENGTH = 16;
const JPEG = { type: "image/jpeg", quality: 0.92 };

export class OpenedImage {
  /** @param {ImageBitmap} bitmap @param {string} key */
  constructor(bitmap, key) {
    this.bitmap = bitmap;
    this.key = key;
  }

  /** Decode a file. @param {File} file */
  static async open(file) {
    const key = await keyOf(file);
    try {
      return new OpenedImage(await createImageBitmap(file, { colorSpaceConversion: "none" }), key);
    } catch (error) {
      throw refused("image", "be one that the browser can decode", `${file.name} (${error instanceof Error ? error.message : error})`, "open a JPEG, PNG or WebP");
    }
  }

  get size() {
    return { width: this.bitmap.width, height: this.bitmap.height };
  }

  /** The size at which the image and its masks are shown. */
  get shown() {
    const scale = Math.min(1, PREVIEW_SIDE / Math.max(this.bitmap.width, this.bitmap.height));
    return { width: Math.max(1, Math.round(this.bitmap.width * scale)), height: Math.max(1, Math.round(this.bitmap.height * scale)) };
  }

  preview() {
    return this.#jpeg({ x: 0, y: 0, ...this.size }, this.shown);
  }

  /** @param {Area} area of the image @param {number} side the most pixels of a side of the JPEG */
  crop(area, side) {
    const scale = Math.min(1, side / Math.max(area.width, area.height));
    return this.#jpeg(area, { width: Math.max(1, Math.round(area.width * scale)), height: Math.max(1, Math.round(area.height * scale)) });
  }

  /** Free the memory of the pixels. */
  close() {
    this.bitmap.close();
  }

  /** @param {Area} area @param {Size} size */
  #jpeg({ x, y, width, height }, size) {
    const canvas = new OffscreenCanvas(size.width, size.height);
    const context = canvas.getContext("2d");
    if (!context) throw new Error("The browser cannot draw images: it has no 2D canvas.");
    context.fillStyle = "white"; // behind transparent pixels
    context.fillRect(0, 0, size.width, size.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.bitmap, x, y, width, height, 0, 0, size.width, size.height);
    return canvas.convertToBlob(JPEG);
  }
}

/** Return a name for the content of a file, or for the file itself on an insecure page. @param {File} file */
async function keyOf(file) {
  const sum = await sha256Of(await file.arrayBuffer());
  return sum?.slice(0, KEY_LENGTH) ?? `${file.name}-${file.size}-${file.lastModified}`;
}
