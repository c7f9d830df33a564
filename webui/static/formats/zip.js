// ZIP archives with UTF-8 names.

import { compressed, crc32 } from "./compression.js";

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END = 0x06054b50;
const VERSION = 20; // of the format, which deflate needs
const UTF_8 = 0x0800;
const DEFLATE = 8;

/** An archive to which files are added one after another. */
export class Zip {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #parts = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #directory = [];
  #size = 0;

  /** @param {string} name @param {Uint8Array<ArrayBuffer>} content */
  async add(name, content) {
    const encoded = new TextEncoder().encode(name);
    const packed = await compressed([content].values(), "deflate-raw");
    const [date, time] = dateAndTime(new Date());
    /** @type {[number, 2 | 4][]} */
    const common = [
      [VERSION, 2], [UTF_8, 2], [DEFLATE, 2], [time, 2], [date, 2],
      [crc32(content), 4], [packed.length, 4], [content.length, 4], [encoded.length, 2], [0, 2],
    ];
    const header = fields([LOCAL_HEADER, 4], ...common);
    // After the common fields: comment, disk, attributes of two kinds, and the place of the local header.
    const rest = /** @type {[number, 2 | 4][]} */ ([[0, 2], [0, 2], [0, 2], [0, 4], [this.#size, 4]]);
    this.#directory.push(fields([CENTRAL_HEADER, 4], [VERSION, 2], ...common, ...rest), encoded);
    this.#parts.push(header, encoded, packed);
    this.#size += header.length + encoded.length + packed.length;
  }

  blob() {
    const count = this.#directory.length / 2;
    const length = this.#directory.reduce((sum, part) => sum + part.length, 0);
    const end = fields([END, 4], [0, 2], [0, 2], [count, 2], [count, 2], [length, 4], [this.#size, 4], [0, 2]);
    return new Blob([...this.#parts, ...this.#directory, end], { type: "application/zip" });
  }
}

/** Return little-endian numbers. @param {...[number, 2 | 4]} values each with its number of bytes */
function fields(...values) {
  const bytes = new Uint8Array(values.reduce((sum, [, size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let place = 0;
  for (const [value, size] of values) {
    if (size === 2) view.setUint16(place, value, true);
    else view.setUint32(place, value, true);
    place += size;
  }
  return bytes;
}

/** @param {Date} now */
function dateAndTime(now) {
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  return [date, (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1)];
}
