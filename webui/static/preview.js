// What is under the pointer: the segment, or the mask of a click there.

import { isMarked, NOTHING, withPoint } from "./prompt.js";
import { segmentAt } from "./scene.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./viewport.js").Place} Place */

const EVERY = 120; // milliseconds between previews while the pointer moves

export class Preview {
  /** @type {Place | null} */
  #pixel = null;
  #requesting = false;

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.store = page.store;
  }

  /** Show what is under the pointer: the segment, or the mask of a click there. @param {Place | null} pixel */
  hover(pixel) {
    const { state } = this.store;
    if (state.tab === "everything") {
      const pointed = segmentAt(state, pixel);
      if (pointed !== state.pointed) this.store.set({ pointed });
      return;
    }
    this.#pixel = pixel;
    if (!pixel || !this.#isWanted) {
      if (state.preview !== null) this.store.set({ preview: null });
    } else if (!this.#requesting) {
      this.#requesting = true;
      this.#followPointer().finally(() => { this.#requesting = false; });
    }
  }

  /** Preview the mask under the pointer, one request at a time. */
  async #followPointer() {
    const { store } = this;
    for (;;) {
      const pixel = this.#pixel;
      const { image } = store.state;
      if (!pixel || !image || !this.#isWanted) return;
      const prompt = withPoint(NOTHING, [pixel.x, pixel.y, 1]);
      const [prediction] = await Promise.all([
        this.page.engine.predict(image, prompt, { hover: true }).catch(() => null),
        new Promise((resolve) => setTimeout(resolve, EVERY)),
      ]);
      if (!this.#pixel || !this.#isWanted || store.state.image?.key !== image.key) return;
      store.set({ preview: prediction?.masks[prediction.best]?.rle ?? null });
      if (this.#pixel === pixel) return;
    }
  }

  get #isWanted() {
    const { phase, tool, tab, look, doc } = this.store.state;
    return phase === "ready" && tool !== "background" && tab === "prompt" && !isMarked(doc.prompt) && !this.page.pointer.isDragging && (look === "overlay" || look === "outline");
  }
}
