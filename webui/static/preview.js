// The mask under the pointer, while nothing is marked yet.

import { COLOR, Layer } from "./masks.js";

const EVERY = 120; // milliseconds between questions while the pointer moves

export class Preview {
  constructor(studio) {
    this.studio = studio;
    this.layer = null;
    this.pixel = null;
    this.asking = false;
  }

  drop() {
    this.layer = null;
  }

  /** The pointer is at a pixel of the picture, or null: one question at a time, and not too many. */
  async hover(pixel) {
    this.pixel = pixel;
    if (!pixel || !this.#wanted()) {
      if (this.layer) {
        this.drop();
        this.studio.redraw();
      }
      return;
    }
    if (this.asking) return;
    this.asking = true;
    while (this.pixel && this.#wanted()) {
      const asked = this.pixel;
      const { image } = this.studio.session;
      const [answer] = await Promise.all([
        this.studio.visit.call("hover", { ...asked, image: image.key }).catch(() => ({})),
        new Promise((resolve) => setTimeout(resolve, EVERY)),
      ]);
      if (!this.pixel || !this.#wanted() || this.studio.session.image?.key !== image.key) break;
      this.layer = answer.rle ? new Layer(answer.rle, image.shown, COLOR) : null;
      this.studio.redraw();
      if (this.pixel === asked) break;
    }
    this.asking = false;
  }

  #wanted() {
    const { root, all, stage, look } = this.studio;
    const ready = root.dataset.state === "ready" && root.dataset.tool !== "background" && !stage.drag;
    return ready && !all && root.dataset.marked !== "true" && ["overlay", "outline"].includes(look);
  }
}
