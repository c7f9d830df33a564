// The engine that runs in this tab: the model of a folder that `mobilesam site` wrote. Images stay in the tab.

import { Refusal } from "./engine.js";
import { palette } from "./formats/palette.js";
import { checkPixels } from "./model/pixels.js";
import { Remote } from "./model/remote.js";
import { keepFile, keptFile } from "./kept_file.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./engine.js").ShownImage} ShownImage */

/** @implements {Engine} */
export class TabEngine {
  #worker = new Remote(new URL("./model/page_worker.js", import.meta.url));
  /** @type {Promise<string | null> | null} */
  #loading = null;
  /** @type {Map<string, Blob>} the previews of the image that is shown, and of one that is being opened */
  #previews = new Map();
  #opens = 0;
  #model = "";

  /** @param {string} base the address of the folder @param {import("./page.js").OnStatus} onStatus @param {boolean} [webgpu] whether to encode on the GPU */
  constructor(base, onStatus, webgpu = false) {
    this.base = base;
    this.webgpu = webgpu;
    this.onStatus = onStatus;
  }

  /** @returns {Promise<import("./engine.js").Settings>} */
  async start() {
    const manifest = await (await fetched(new URL("manifest.json", this.base))).json().catch(() => null);
    if (!manifest?.model) throw new Refusal("The file manifest.json of this page is damaged. Write the folder again with: mobilesam site");
    this.#model = manifest.model.name;
    const note = await this.#load();
    return {
      models: { [this.#model]: this.#model }, modes: manifest.modes, samples: manifest.samples, runs: "tab", formats: FORMATS,
      max_upload_mb: Infinity, model: this.#model, image: await this.#resumed(), note: note ?? "",
    };
  }

  /** Load the model, again if it failed before, and return a note for the user. */
  #load() {
    this.#loading ??= this.#loaded().catch((error) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  /** @returns {Promise<string | null>} */
  async #loaded() {
    this.onStatus("Loading the model …");
    try {
      const onProgress = (/** @type {number} */ done, /** @type {number} */ total) => (
        this.onStatus(`Loading the model: ${megabytes(done)} of ${megabytes(total)} MB …`, done / total)
      );
      return await this.#call("open", { base: this.base, webgpu: this.webgpu }, { onProgress });
    } finally {
      this.onStatus("");
    }
  }

  /** Return the image that was open when the page was closed or ended by the system, which is encoded in the background. */
  async #resumed() {
    const file = await keptFile(this.base);
    if (!file || this.#opens) return null;
    try {
      const image = await this.#opened(file);
      this.#call("encode", { key: image.key }).catch(() => {}); // the next prediction says what is missing
      return image;
    } catch {
      return null;
    }
  }

  /** @param {File} file @param {AbortSignal} [signal] @returns {Promise<ShownImage>} */
  async #opened(file, signal) {
    const { preview, ...image } = await refusing(async () => {
      await checkPixels(file);
      signal?.throwIfAborted();
      return this.#worker.call("openImage", file);
    });
    signal?.throwIfAborted();
    this.#previews.set(image.key, preview);
    for (const key of this.#previews.keys()) if (this.#previews.size > 2) this.#previews.delete(key);
    return { ...image, name: file.name, note: "" };
  }

  /** @type {Engine["open"]} */
  async open(file, { signal, onImage } = {}) {
    this.#opens += 1;
    await this.#load();
    const image = await this.#opened(file, signal);
    onImage?.(image);
    const encode_ms = await this.#call("encode", { key: image.key });
    if (!signal?.aborted) await keepFile(this.base, file);
    return { image, model: this.#model, encode_ms };
  }

  /** @type {Engine["use"]} */
  async use() {
    return { image: null, model: this.#model, encode_ms: 0 };
  }

  /** @type {Engine["preview"]} */
  async preview(image) {
    const preview = this.#previews.get(image.key);
    if (!preview) throw new DOMException("Another image was opened.", "AbortError");
    return preview;
  }

  /** @type {Engine["crop"]} */
  crop(image, area, side) {
    return this.#of(image, "crop", { area, side });
  }

  /** @type {Engine["predict"]} */
  async predict(image, prompt, { clean = false } = {}) {
    return this.#of(image, "predict", { prompt, clean, shown: image.shown });
  }

  /** @type {Engine["freeze"]} */
  freeze(image, what) {
    if ("prompt" in what) return this.#of(image, "freeze", { ...what, shown: image.shown });
    return this.#of(image, "freezeSegments", { ...what, shown: image.shown });
  }

  /** @type {Engine["everything"]} */
  async everything(image, mode, { clean = false, signal, onProgress } = {}) {
    const start = performance.now();
    const request = { mode, clean, shown: image.shown };
    const { segments, partial, run } = await this.#of(image, "everything", request, { signal, onProgress: (done, total, masks) => onProgress?.(done / total, masks) });
    const colors = palette(segments.length);
    const colored = segments.map((/** @type {object} */ segment, /** @type {number} */ index) => ({ ...segment, color: colors[index] }));
    return { segments: colored, partial, ms: performance.now() - start, run };
  }

  /** @type {Engine["save"]} */
  save(image, kind, what) {
    return this.#of(image, "save", { kind, name: image.name, what });
  }

  /** @type {Engine["sample"]} */
  sample(file) {
    return new URL(`samples/${encodeURIComponent(file)}`, this.base).href;
  }

  close() {
    this.#previews.clear();
  }

  /** Call a function about an image. @param {ShownImage} image @param {string} method @param {object} argument @param {import("./model/remote.js").CallOptions} [options] */
  #of({ key }, method, argument, options) {
    return this.#call(method, { key, ...argument }, options);
  }

  /** @param {string} method @param {unknown} [argument] @param {import("./model/remote.js").CallOptions} [options] */
  #call(method, argument, options) {
    return refusing(() => this.#worker.call(method, argument, options));
  }
}

/** Do a task; an error for the user becomes a Refusal. @param {() => Promise<any>} task */
async function refusing(task) {
  try {
    return await task();
  } catch (error) {
    if (error instanceof Error && error.name === "InputError") throw new Refusal(error.message);
    throw error;
  }
}

const FORMATS = ["all", "mask", "cutout", "coco", "labelme", "yolo", "prompts", "masks", "instances", "indexed", "overlay", "csv", "geojson"];

/** @param {number} bytes */
function megabytes(bytes) {
  return (bytes / 1e6).toFixed(0);
}

/** @param {URL} address */
async function fetched(address) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) throw new Refusal(`${address.href} cannot be fetched. Check the connection and reload the page.`);
  return response;
}
