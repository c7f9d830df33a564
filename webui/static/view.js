// The part of the image that is shown, in full resolution where it is enlarged.

import { cropOf, shows, zoomed, zoomedTo } from "./viewport.js";

/** @typedef {import("./page.js").Page} Page */

const CROP_AFTER = 150; // milliseconds after the view has stopped moving
const CROP_SIDE = 2048; // the most pixels of a crop's longer side

export class View {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {AbortController | null} */
  #cropping = null;

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.store = page.store;
    this.store.listen((state, before) => {
      if (state.viewport !== before.viewport || state.bitmap !== before.bitmap || state.phase !== before.phase) this.changed();
    });
  }

  /** Show another part of the image; null shows all of it. @param {import("./viewport.js").Viewport} viewport */
  show(viewport) {
    this.store.set({ viewport });
  }

  /** Zoom by a factor around the crosshair or the middle. @param {number} factor */
  zoom(factor) {
    const { state } = this.store;
    const { view, fit } = this.page.painter;
    if (!state.image || !fit) return;
    const at = state.crosshair ? { x: fit.left + (state.crosshair.x + 0.5) * fit.scale, y: fit.top + (state.crosshair.y + 0.5) * fit.scale } : { x: view.width / 2, y: view.height / 2 };
    this.show(zoomed(view, state.image, state.viewport, factor, at));
  }

  /** Show a pixel of the image as one of the page. */
  showActualSize() {
    const { state } = this.store;
    const { view } = this.page.painter;
    if (state.image) this.show(zoomedTo(view, state.image, state.viewport, 1, { x: view.width / 2, y: view.height / 2 }));
  }

  /** Fetch another crop when the view has stopped moving. */
  changed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#crop(), CROP_AFTER);
  }

  /** Fetch the part of the image that is shown larger than the preview. */
  async #crop() {
    const { store } = this;
    const { image, viewport, crop } = store.state;
    this.#cropping?.abort();
    if (!image || store.state.phase !== "ready") return;
    const { view, ratio, fit } = this.page.painter;
    const area = cropOf(view, image, viewport, image.shown, ratio);
    if (!area || !fit) {
      if (crop) store.set({ crop: null });
      return;
    }
    const side = Math.min(CROP_SIDE, Math.ceil(Math.max(area.width, area.height) * Math.min(1, fit.scale * ratio)));
    if (crop && shows(crop.area, crop.bitmap.width / crop.area.width, area, side / Math.max(area.width, area.height))) return;
    const cropping = (this.#cropping = new AbortController());
    try {
      const bitmap = await createImageBitmap(await this.page.engine.crop(image, area, side, cropping.signal));
      if (!cropping.signal.aborted && store.state.image?.key === image.key) store.set({ crop: { area, bitmap } });
    } catch {
      // The preview is shown instead.
    }
  }
}
