// The mask under the pointer, while the prompt is empty.

import { COLOR, Layer } from "./masks.js";

const EVERY = 120; // milliseconds between requests while the pointer moves

export class Preview {
  constructor(page) {
    Object.assign(this, { page, layer: null, pixel: null, requesting: false });
  }

  drop() {
    this.layer = null;
  }

  /** Show the mask at a pixel of the image, or none for null; one request at a time. */
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
      const target = this.pixel;
      const { image } = this.page.session;
      const [response] = await Promise.all([
        this.page.client.call("hover", { ...target, image: image.key }).catch(() => ({})),
        new Promise((resolve) => setTimeout(resolve, EVERY)),
      ]);
      if (!this.pixel || !this.#wanted() || this.page.session.image?.key !== image.key) break;
      this.layer = response.rle ? new Layer(response.rle, image.shown, COLOR) : null;
      this.page.redraw();
      if (this.pixel === target) break;
    }
    this.requesting = false;
  }

  #wanted() {
    const { root, all, stage, look } = this.page;
    const ready = root.dataset.state === "ready" && root.dataset.tool !== "background" && !stage.drag;
    return ready && !all && root.dataset.marked !== "true" && ["overlay", "outline"].includes(look);
  }
}
