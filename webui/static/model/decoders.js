// Workers of everything mode, which decode some points each. Many prompts are decoded fastest by several threads that
// decode one prompt each, and such workers need no page that is cross-origin isolated.

import { Remote } from "./remote.js";

/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {import("./points.js").CheckedSettings} CheckedSettings */
/** @typedef {import("./points.js").DecodedPoint} DecodedPoint */

/**
 * What workers need of an image.
 * @typedef {object} SharedImage
 * @property {Frame} frame
 * @property {Record<string, { data: Float32Array, dims: readonly number[] }>} tokens
 */

export class Decoders {
  /** @type {Promise<Remote>[] | null} */
  #remotes = null;

  /** @param {string} base the address of the folder of the model @param {number} count */
  constructor(base, count) {
    this.base = base;
    this.count = count;
  }

  /** Prepare all of them for an image; the first time, they are started. @param {SharedImage} image @param {CheckedSettings} settings */
  async setImage(image, settings) {
    this.#remotes ??= Array.from({ length: this.count }, () => this.#open());
    try {
      const remotes = await Promise.all(this.#remotes);
      await Promise.all(remotes.map((remote) => remote.call("setImage", { image, settings })));
    } catch (error) {
      for (const opened of await Promise.allSettled(this.#remotes)) if (opened.status === "fulfilled") opened.value.close();
      this.#remotes = null; // the next run starts others
      throw error;
    }
  }

  async #open() {
    const remote = new Remote(new URL("./decoder_worker.js", import.meta.url));
    try {
      await remote.call("open", this.base);
    } catch (error) {
      remote.close();
      throw error;
    }
    return remote;
  }

  /** Decode parts of the points at the same time, at most one for each worker. @param {number[][]} parts @returns {Promise<DecodedPoint[]>} */
  async decode(parts) {
    const remotes = await Promise.all(this.#remotes ?? []);
    return (await Promise.all(parts.map((part, index) => remotes[index].call("decode", part)))).flat();
  }
}
