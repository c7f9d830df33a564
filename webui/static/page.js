// The page: connects the state, the engine, the canvas and the controls.

import { listenToControls } from "./controls.js";
import { Refusal } from "./engine.js";
import { HybridEngine } from "./hybrid_engine.js";
import { Images } from "./images.js";
import { listenToKeys } from "./keyboard.js";
import { Marking } from "./marking.js";
import { Painter } from "./painter.js";
import { keepDocument } from "./persist.js";
import { Pointer } from "./pointer.js";
import { Preview } from "./preview.js";
import { render } from "./render.js";
import { Segmenting } from "./segmenting.js";
import * as states from "./state.js";
import { Store } from "./store.js";
import { View } from "./view.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./state.js").State} State */
/** @typedef {(text: string, share?: number | null) => void} OnStatus shows a text while something takes long, and the share that is done; "" at its end */

/** Start the page of a server: `root` is its element, `server` has the server function `hello`. @param {any} root @param {{ hello: (call: object) => Promise<any> }} server */
export function start(root, server) {
  startWith(root, (onStatus) => new HybridEngine((call) => server.hello(call), onStatus));
}

/** Start the page in an element, with the engine that a function makes. @param {any} root @param {(onStatus: OnStatus) => Engine} makeEngine */
export function startWith(root, makeEngine) {
  if (root.page) return;
  root.page = new Page(root, makeEngine);
  root.page.start();
}

export class Page {
  #unkept = false; // whether the user was told that the objects do not outlive the page

  /** @param {HTMLElement} root @param {(onStatus: OnStatus) => Engine} makeEngine it gets a function that shows a text while something takes long */
  constructor(root, makeEngine) {
    this.root = root;
    this.store = new Store(states.INITIAL);
    this.store.listen((state, before) => this.#changed(state, before));
    this.engine = makeEngine((status, share = null) => this.store.set({ status, share }));
    this.images = new Images(this);
    this.marking = new Marking(this);
    this.segmenting = new Segmenting(this);
    this.view = new View(this);
    this.preview = new Preview(this);
    this.painter = new Painter(/** @type {HTMLCanvasElement} */ (this.part("canvas")), () => this.store.state, {
      painted: () => this.marking.painted(),
      resized: () => this.view.changed(),
    });
    this.pointer = new Pointer(this);
    listenToKeys(this);
    listenToControls(this);
    render(this, this.store.state);
  }

  /** @param {string} name @returns {HTMLElement} */
  part(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="${name}"]`));
  }

  /** Whether the tab of everything mode is open. */
  get isEverything() {
    return this.store.state.tab === "everything";
  }

  async start() {
    try {
      const settings = await this.engine.start();
      this.store.set({ settings, model: settings.model, mode: settings.modes[0] ?? "" });
      if (settings.image) await this.images.resume(settings.image);
      else this.store.set({ phase: "empty" });
      if (settings.note) this.say(settings.note, "note");
    } catch (error) {
      this.store.set({ phase: "empty" });
      this.fail(error);
    }
  }

  /** @param {State} state @param {State} before */
  #changed(state, before) {
    render(this, state);
    this.painter.invalidate();
    if (state.doc === before.doc && state.past === before.past) return;
    if (!keepDocument(state) && state.doc.objects.length && !this.#unkept) {
      this.#unkept = true;
      this.say("The browser has no room to keep these objects. Save them before you reload the page.", "note");
    }
  }

  /** Show an error: what happened and what to do. @param {unknown} error @param {string} [about] the name of a file */
  fail(error, about = "") {
    if (error instanceof DOMException && error.name === "AbortError") return;
    if (error instanceof Refusal) {
      const named = about !== "" && error.message.startsWith(about);
      const text = named ? error.message : error.message.charAt(0).toUpperCase() + error.message.slice(1);
      this.store.apply(states.say, named || !about ? text : `${about}: ${text}`);
      if (error.expired) this.#closeImage();
    } else {
      console.error(error);
      this.say(`The page failed: ${error instanceof Error ? error.message : error}. Reload it to go on.`);
    }
  }

  /** Show no image, since the engine no longer has it; its objects come back with it. */
  #closeImage() {
    const { image, doc } = this.store.state;
    this.engine.close();
    this.store.apply(states.close);
    if (image && doc.objects.length) this.say(`The session expired. Open ${image.name} again; its objects come back with it.`);
  }

  /** @param {string} text "" for none @param {"error" | "note"} [kind] */
  say(text, kind) {
    this.store.apply(states.say, text, kind);
  }

  /** Mark a pixel, or select its segment. @param {import("./viewport.js").Place} pixel @param {0 | 1} label */
  point(pixel, label) {
    if (this.isEverything) this.segmenting.selectAt(pixel);
    else this.marking.point(pixel, label);
  }

  /** Keep the mask in use, or the selected segments, as objects. */
  keep() {
    if (this.isEverything) this.segmenting.keep();
    else this.marking.keep();
  }

  /** End what was started: a drag, a box, a run, a selection, or the prompt. */
  escape() {
    const { corner, progress } = this.store.state;
    if (this.pointer.cancel()) return;
    if (corner) this.store.set({ corner: null });
    else if (!this.isEverything) this.marking.clear();
    else if (progress) this.segmenting.stop();
    else this.store.apply(states.select, null);
  }

  /** Save what the tab shows in a format: the objects with the mask that is being marked, or segments. @param {string} kind */
  async save(kind) {
    const { image, run, selected } = this.store.state;
    if (!image) return;
    try {
      const what = this.isEverything ? { run: run?.run ?? 0, selected } : { objects: await this.marking.saved() };
      const { blob, name } = await this.engine.save(image, kind, what, this.images.signal);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      this.fail(error);
    }
  }

  openKeys() {
    /** @type {HTMLDialogElement} */ (this.part("keys")).showModal();
  }
}
