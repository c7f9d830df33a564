// Everything mode: its run, and the segments that are selected and kept.

import { segmentAt } from "./scene.js";
import * as states from "./state.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./viewport.js").Place} Place */

export class Segmenting {
  /** @type {AbortController | null} */
  #running = null;
  #keeping = false;

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.store = page.store;
  }

  /** Segment everything in the image. */
  async run() {
    const { store } = this;
    const { image, mode, clean } = store.state;
    if (!image || (this.#running && !this.#running.signal.aborted)) return;
    const running = (this.#running = new AbortController());
    const isLatest = () => this.#running === running && store.state.image?.key === image.key;
    this.page.say("");
    store.set({ progress: { share: 0, text: "Starting …" } });
    try {
      const run = await this.page.engine.everything(image, mode, {
        clean,
        signal: running.signal,
        onWaiting: (place) => { if (isLatest()) store.set({ progress: { share: 0, text: `Waiting in the queue, place ${place} …` } }); },
        onProgress: (share, candidates) => { if (isLatest()) store.set({ progress: { share, text: `${candidates} candidates so far …` } }); },
      });
      if (isLatest()) store.set({ run, selected: [], pointed: null, times: { ...store.state.times, everything: run.ms } });
    } catch (error) {
      if (isLatest()) this.page.fail(error);
    } finally {
      if (this.#running === running) {
        this.#running = null;
        store.set({ progress: null });
      }
    }
  }

  /** End the run early; it gives the segments so far. */
  stop() {
    this.#running?.abort();
    const { progress } = this.store.state;
    if (progress) this.store.set({ progress: { ...progress, text: "Stopping …" } });
  }

  /** Select the segment at a pixel, or unselect it. @param {Place} pixel */
  selectAt(pixel) {
    this.select(segmentAt(this.store.state, pixel));
  }

  /** @param {number | null} index */
  select(index) {
    if (index === null) return;
    this.store.apply(states.select, index);
    queueMicrotask(() => scrollTo(this.page.part("segments"), this.page.root.querySelector(`[data-segment="${index}"]`)));
  }

  /** Keep the selected segments as objects. */
  async keep() {
    const { store } = this;
    const { image, run, selected } = store.state;
    if (!image || !run || !selected.length || this.#keeping) return;
    this.#keeping = true;
    try {
      const masks = await this.page.engine.freeze(image, { run: run.run, segments: selected }, this.page.images.signal);
      if (store.state.image?.key !== image.key) return;
      store.apply(states.keepSegments, selected, masks, store.state.label);
      this.page.say(masks.length === 1 ? "Kept 1 segment as an object." : `Kept ${masks.length} segments as objects.`, "note");
    } catch (error) {
      this.page.fail(error);
    } finally {
      this.#keeping = false;
    }
  }
}

/** Scroll a list, and nothing around it, to one of its rows. @param {HTMLElement} list @param {Element | null} row */
function scrollTo(list, row) {
  if (!row) return;
  const [outer, inner] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  if (inner.top < outer.top) list.scrollTop += inner.top - outer.top;
  else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom;
}
