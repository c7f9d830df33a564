// The files of a model, as `mobilesam site` writes them: fetched once, kept by the browser, and verified.

import { sha256Of } from "./digest.js";
import { InputError } from "./errors.js";
import { Store } from "./store.js";

/**
 * @typedef {{ file: string, size: number, sha256: string }} Entry
 *
 * @typedef {object} Manifest
 * @property {number} version of this format
 * @property {{ name: string }} model
 * @property {Record<string, string>} graphs role to file
 * @property {string} [learned] the file of what was learned on the weights
 * @property {{ package: string, module: string, mjs: string, wasm: string }} runtime
 * @property {{ module: string, mjs: string, wasm: string, check: string }} [webgpu] the runtime for WebGPU, and part of a known embedding
 * @property {Entry[]} files
 *
 * @typedef {(file: string, done: number, total: number) => void} OnDownload bytes so far and in all, of the files that are not kept yet
 */

const VERSION = 1;

export class Files {
  /** @type {Manifest | null} */
  #manifest = null;
  /** @type {Store | null} */
  #store = null;
  /** The SHA-256 of the files that are kept. @type {Set<string>} */
  #kept = new Set();
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

  get store() {
    if (!this.#store) throw new Error("open() comes first");
    return this.#store;
  }

  /** Why files are not kept, or null. */
  get note() {
    return this.store.note;
  }

  /** Read the manifest. */
  async open() {
    const response = await request(this.address("manifest.json"), "no-cache");
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
    this.#store = new Store(manifest.model.name);
    this.#kept = new Set(await this.store.list());
  }

  /** @param {string} file */
  address(file) {
    return new URL(file, this.base).href;
  }

  /** Return the content of a file of the manifest. @param {string} file */
  async read(file) {
    const entry = this.manifest.files.find((each) => each.file === file);
    if (!entry) throw new InputError(`${this.address("manifest.json")} does not list ${file}. Write the folder again with: mobilesam site`);
    const kept = this.#kept.has(entry.sha256) ? await this.store.get(entry.sha256) : null;
    if (kept && !(await damageOf(kept, kept.length, entry))) return kept;
    this.#kept.delete(entry.sha256);
    const content = await this.#fetch(entry);
    await this.store.put(entry.sha256, content);
    return content;
  }

  /** Remove the files of other versions of the model. */
  async removeOthers() {
    await this.store.removeOthers(new Set(this.manifest.files.map(({ sha256 }) => sha256)));
  }

  /** @param {Entry} entry */
  async #fetch(entry) {
    // What is kept here is not also kept by the browser's HTTP cache.
    const response = await request(this.address(entry.file), this.note ? "no-cache" : "no-store");
    const content = new Uint8Array(entry.size);
    let size = 0;
    for await (const chunk of chunksOf(response)) {
      if (size + chunk.length <= entry.size) content.set(chunk, size);
      size += chunk.length;
      this.#done += chunk.length;
      this.onDownload(entry.file, this.#done, this.#total());
    }
    const damage = await damageOf(content, size, entry);
    if (damage) throw new InputError(`${this.address(entry.file)} is damaged or of another version (${damage}). Reload the page; if it stays, write the folder again with: mobilesam site`);
    return content;
  }

  #total() {
    const { graphs, learned, runtime, files } = this.manifest;
    const read = new Set([...Object.values(graphs), learned, runtime.wasm]);
    return files.reduce((sum, { file, size, sha256 }) => (read.has(file) && !this.#kept.has(sha256) ? sum + size : sum), 0);
  }
}

/** @param {string} address @param {RequestCache} cache */
async function request(address, cache) {
  let response;
  try {
    response = await fetch(address, { cache });
  } catch (error) {
    throw new InputError(`${address} cannot be fetched (${error instanceof Error ? error.message : error}). Check the connection and the address.`);
  }
  if (!response.ok) throw new InputError(`${address} cannot be fetched (HTTP ${response.status}). Check the address.`);
  return response;
}

/** @param {Response} response */
async function* chunksOf(response) {
  const reader = response.body?.getReader();
  const read = () => reader?.read().catch((error) => {
    throw new InputError(`${response.url} was cut off (${error.message}). Check the connection and reload the page.`);
  });
  for (let part = await read(); part && !part.done; part = await read()) yield part.value;
}

/** Return the difference between a file and its entry, or null. @param {Uint8Array<ArrayBuffer>} content @param {number} size @param {Entry} entry */
async function damageOf(content, size, entry) {
  if (size !== entry.size) return `${size} bytes instead of ${entry.size}`;
  const sum = await sha256Of(content);
  return sum === null || sum === entry.sha256 ? null : "its SHA-256 differs from the manifest's";
}

/** Return arrays from JSON, in which each is the base64 of little-endian float32; undefined for null. @param {Record<string, string> | null} texts @returns {Record<string, Float32Array> | undefined} */
export function arraysOf(texts) {
  return texts ? Object.fromEntries(Object.entries(texts).map(([name, text]) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return [name, new Float32Array(bytes.buffer)];
  })) : undefined;
}
