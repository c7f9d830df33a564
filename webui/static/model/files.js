// The files of a model, as `mobilesam site` writes them: fetched and verified.

import { InputError } from "./errors.js";

/**
 * @typedef {{ file: string, size: number, sha256: string }} Entry
 *
 * @typedef {object} Manifest
 * @property {number} version of this format
 * @property {Record<string, string>} graphs role to file
 * @property {string} [learned] the file of what was learned on the weights
 * @property {{ package: string, module: string, mjs: string, wasm: string }} runtime
 * @property {Entry[]} files
 *
 * @typedef {(file: string, done: number, total: number) => void} OnDownload bytes so far and in all, of all files
 */

const VERSION = 1;

export class Files {
  /** @type {Manifest | null} */
  #manifest = null;
  #done = 0;

  /** @param {string} base the address of the folder @param {OnDownload} [onDownload] */
  constructor(base, onDownload = () => {}) {
    this.base = base.endsWith("/") ? base : `${base}/`;
    this.onDownload = onDownload;
  }

  get manifest() {
    if (!this.#manifest) throw new Error("open() comes first");
    return this.#manifest;
  }

  /** Read the manifest. */
  async open() {
    const response = await request(this.address("manifest.json"));
    let manifest;
    try {
      manifest = await response.json();
    } catch {
      throw new InputError(`${response.url} is not a manifest. Write the folder again with: mobilesam site`);
    }
    if (manifest.version !== VERSION || !manifest.graphs || !manifest.runtime) {
      throw new InputError(`${response.url} is a manifest of version ${manifest.version}, and this script reads version ${VERSION}. Reload the page, or write the folder again with: mobilesam site`);
    }
    this.#manifest = manifest;
  }

  /** @param {string} file */
  address(file) {
    return new URL(file, this.base).href;
  }

  /** Return the content of a file of the manifest. @param {string} file */
  async read(file) {
    const entry = this.manifest.files.find((each) => each.file === file);
    if (!entry) throw new InputError(`${this.address("manifest.json")} does not list ${file}. Write the folder again with: mobilesam site`);
    const response = await request(this.address(file));
    const content = new Uint8Array(entry.size);
    let size = 0;
    for await (const chunk of chunksOf(response)) {
      if (size + chunk.length <= entry.size) content.set(chunk, size);
      size += chunk.length;
      this.#done += chunk.length;
      this.onDownload(file, this.#done, this.#total());
    }
    const isWhole = size === entry.size;
    if (!isWhole || (await digest(content, entry.sha256)) !== entry.sha256) {
      const reason = isWhole ? "its SHA-256 differs from the manifest's" : `${size} bytes instead of ${entry.size}`;
      throw new InputError(`${this.address(file)} is damaged or of another version (${reason}). Reload the page; if it stays, write the folder again with: mobilesam site`);
    }
    return content;
  }

  #total() {
    const { graphs, learned, files } = this.manifest;
    const read = new Set([...Object.values(graphs), learned]);
    return files.reduce((sum, { file, size }) => (read.has(file) ? sum + size : sum), 0);
  }
}

/** @param {string} address */
async function request(address) {
  let response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new InputError(`${address} cannot be fetched (${error instanceof Error ? error.message : error}). Check the connection and the address.`);
  }
  if (!response.ok) throw new InputError(`${address} cannot be fetched (HTTP ${response.status}). Check the address.`);
  return response;
}

/** @param {Response} response */
async function* chunksOf(response) {
  const reader = response.body?.getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) yield part.value;
}

/** Return the SHA-256 of bytes, or `unknown` on an insecure page, where browsers do not compute it. @param {Uint8Array<ArrayBuffer>} content @param {string} unknown */
async function digest(content, unknown) {
  const { subtle } = globalThis.crypto ?? {};
  if (!subtle) return unknown;
  const sum = new Uint8Array(await subtle.digest("SHA-256", content));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return arrays from JSON, in which each is the base64 of little-endian float32. @param {Record<string, string>} texts @returns {Record<string, Float32Array>} */
export function arraysOf(texts) {
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return [name, new Float32Array(bytes.buffer)];
  }));
}
