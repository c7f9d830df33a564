// The mask under the pointer, while nothing is marked yet.

import { COLOR, Layer } from "./masks.js";

const EVERY = 120; // milliseconds between questions while the pointer moves

export class Preview {
  constructor(page) {
    this.page = page;
    this.layer = null;
    this.pixel = null;
    this.requesting = false;
  }

  drop() {
    this.layer = null;
  }

  /** The pointer is at a pixel of the image, or null: one question at a time, and not too many. */
  async hover(pixel) {
    this.pixel = pixel;
    if (!pixel || !this.#wanted()) {
      if (this.layer) {
        this.drop();
        this.page.redraw();
      }
      return;
    }
    if (this.requesting) return;
    this.requesting = true;
    while (this.pixel && this.#wanted()) {
      const requested = this.pixel;
      const { image } = this.page.session;
      const [response] = await Promise.all([
        this.page.client.call("hover", { ...requested, image: image.key }).catch(() => ({})),
        new Promise((resolve) => setTimeout(resolve, EVERY)),
      ]);
      if (!this.pixel || !this.#wanted() || this.page.session.image?.key !== image.key) break;
      this.layer = response.rle ? new Layer(response.rle, image.shown, COLOR) : null;
      this.page.redraw();
      if (this.pixel === requested) break;
    }
    this.requesting = false;
  }

  #wanted() {
    const { root, all, stage, look } = this.page;
    const ready = root.dataset.state === "ready" && root.dataset.tool !== "background" && !stage.drag;
    return ready && !all && root.dataset.marked !== "true" && ["overlay", "outline"].includes(look);
  }
}
