// The page: the state that the server last sent, and the requests that change it.

import { Everything } from "./everything.js";
import { listen } from "./input.js";
import { Preview } from "./preview.js";
import { after, choices, marks, NOTHING } from "./prompt.js";
import { Stage } from "./stage.js";
import { ActionQueue, Client, fetchBlob, follow, Refusal } from "./transport.js";
import { View } from "./view.js";

const EMPTY = { image: null, prompt: NOTHING, masks: [], chosen: 0, undo: false, redo: false };

/** Start the page: `root` is its element, `server` has the server functions. */
export function start(root, server) {
  if (!root.page) root.page = new Page(root, server);
}

class Page {
  constructor(root, server) {
    this.root = root;
    this.client = new Client(server);
    this.session = EMPTY;
    this.look = "overlay";
    this.file = null; // of the image, to open it again when the session has expired
    this.maxUploadMb = Infinity;
    this.restarting = null; // the promise of a new session
    this.opening = 0; // counts the images, so that the response for an earlier one is ignored
    this.uploading = false; // meanwhile clicks belong to neither image
    this.view = new View(this);
    this.preview = new Preview(this);
    this.queue = new ActionQueue(
      (actions) => this.client.call("act", { actions, image: this.session.image.key }),
      ({ session, decode_ms }) => {
        if (decode_ms !== null) this.view.times({ decode: decode_ms });
        this.#take(session);
      },
      (error, actions) => this.refused(error, actions),
    );
    this.stage = new Stage(this.part("canvas"), {
      point: (pixel, label) => (this.all ? this.everything.toggle(pixel) : this.act({ do: "point", ...pixel, label })),
      box: (box) => this.act({ do: "box", box }),
      hover: (pixel) => (this.all ? this.everything.hover(pixel) : this.preview.hover(pixel)),
      painted: () => this.view.painted(),
    });
    this.everything = new Everything(this);
    listen(this);
    this.#start();
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  /** Whether the tab of everything mode is open. */
  get all() {
    return this.root.dataset.tab === "everything";
  }

  /** The prompt with the open actions, so that a mark appears with the click. */
  get expected() {
    return after(this.session.prompt, this.queue.open);
  }

  /** The headers of a request about the shown image. */
  get headers() {
    return { ...this.client.headers, "X-Image": this.session.image?.key ?? "" };
  }

  redraw() {
    this.view.draw();
  }

  message(text, kind) {
    this.view.message(text, kind);
  }

  async #start() {
    try {
      const { models, modes, max_upload_mb, session } = await this.client.start();
      this.maxUploadMb = max_upload_mb;
      this.part("model").replaceChildren(...Object.entries(models).map(([name, label]) => new Option(label, name)));
      this.everything.offer(modes);
      if (session.image) this.#showImage(session, await this.#bitmap(session.image));
      else this.#take(session);
      this.view.state(session.image ? "ready" : "empty");
      this.redraw();
    } catch (error) {
      this.view.state("empty");
      this.message(`The server does not respond: ${error.message}. Reload the page to try again.`);
    }
  }

  // Images --------------------------------------------------------------------------------------------------------

  /** Open an image, then do `actions`; the earlier image stays until the server has read the new one. */
  async open(file, actions = [], again = false) {
    if (file.size > this.maxUploadMb * 1e6) {
      const size = Math.round(file.size / 1e6);
      this.message(`${file.name} has ${size} MB. This server accepts files of at most ${this.maxUploadMb} MB.`);
      return;
    }
    const turn = ++this.opening;
    const before = this.session.image ? "ready" : "empty";
    let shown = null;
    this.uploading = true;
    this.message("");
    this.view.state("opening", "Uploading …");
    try {
      const headers = { ...this.client.headers, "X-File-Name": encodeURIComponent(file.name || "image") };
      const done = await follow("service/image", { body: file, headers }, (event) => {
        if (turn !== this.opening) return;
        if (event.waiting) this.view.status(`Waiting in the queue, place ${event.waiting} …`);
        if (event.image) shown = this.#begin(file, event.image, turn);
      });
      await shown;
      if (turn !== this.opening) return;
      this.view.times({ encode: done.encode_ms });
      if (!this.queue.open.length && !this.session.masks.length) this.#take(done.session);
      this.view.state("ready");
      this.message(done.session.image.note, "note");
      for (const action of actions) this.queue.push(action);
      this.redraw();
    } catch (error) {
      if (turn !== this.opening) return;
      this.uploading = false;
      this.view.state(before);
      if (error.expired && !again) await this.#again(file);
      else this.message(`${file.name}: ${readable(error)}`);
    }
  }

  /** Show an image that the server is encoding, and drop the state of the earlier one. */
  async #begin(file, session, turn) {
    this.view.status("Encoding …");
    const bitmap = await this.#bitmap(session.image);
    if (turn !== this.opening) return;
    this.file = file;
    this.uploading = false;
    this.queue.reset();
    this.preview.drop();
    this.session = session;
    this.everything.clear();
    this.view.times({ decode: null, everything: null });
    this.#showImage(session, bitmap);
  }

  async #bitmap({ key }) {
    const { blob } = await fetchBlob("service/preview", { headers: { ...this.client.headers, "X-Image": key } });
    return createImageBitmap(blob);
  }

  #showImage(session, bitmap) {
    const { width, height, shown } = session.image;
    this.root.style.setProperty("--ratio", width / height);
    this.stage.show({ bitmap, size: { width, height }, shown });
    this.#take(session);
  }

  /** Start a new session with the same image and prompt: the old one has expired, or its image was dropped. */
  async #again(file, actions = []) {
    const { prompt, model } = this.session;
    const segmented = this.everything.segments.length > 0;
    await this.client.start(model ?? "");
    if (file) {
      await this.open(file, [...(marks(prompt) ? [{ do: "restore", ...prompt }] : []), ...actions], true);
      if (segmented && this.part("message").hidden) this.message("The session expired, and its segments are lost. Segment everything again.");
      return;
    }
    this.stage.show({ bitmap: null, size: null });
    this.queue.reset();
    this.everything.clear();
    this.#take(EMPTY);
    this.view.state("empty");
    this.message("The session expired. Open the image again.");
  }

  async switchModel(name) {
    const turn = this.opening;
    const before = this.root.dataset.state;
    this.everything.stop();
    this.view.state("opening", this.session.image ? "Encoding …" : "Loading the model …");
    try {
      const { headers } = this;
      const refined = choices(this.session.prompt);
      const done = await follow(`service/model/${encodeURIComponent(name)}`, { headers }, (event) => {
        if (event.waiting) this.view.status(`Waiting in the queue, place ${event.waiting} …`);
      });
      if (turn !== this.opening) return;
      if (done.session.image) this.view.times({ encode: done.encode_ms, decode: done.decode_ms });
      if (!this.queue.open.length) this.#take(done.session);
      if (refined && !choices(done.session.prompt)) {
        this.message("This model cannot refine the mask that you chose. Its mask comes from the points and the box alone.", "note");
      }
    } catch (error) {
      this.part("model").value = this.session.model ?? "";
      this.refused(error);
    }
    if (turn === this.opening) this.view.state(before);
  }

  // Prompts ---------------------------------------------------------------------------------------------------------

  act(action) {
    if (!this.session.image || this.all || this.uploading) return;
    this.view.clicked();
    this.message("");
    this.queue.push(action);
    this.redraw();
  }

  choose(index) {
    if (index >= this.session.masks.length || this.queue.open.length) return;
    this.session = { ...this.session, chosen: index };
    this.queue.push({ do: "choose", index });
    this.redraw();
  }

  #take(session) {
    this.session = session;
    if (session.model) this.part("model").value = session.model;
    this.view.masks(session);
    this.redraw();
  }

  /** Show an error; if the session expired, start a new one and do `actions` in it. */
  async refused(error, actions = []) {
    if (error.expired) {
      this.restarting ??= this.#again(this.file, actions).finally(() => { this.restarting = null; });
      await this.restarting;
      return;
    }
    this.redraw();
    this.message(readable(error));
  }

  async save(kind) {
    try {
      await this.queue.idle();
      const body = JSON.stringify(this.everything.saved());
      const headers = { ...this.headers, "Content-Type": "application/json" };
      const { blob, name } = await fetchBlob(`service/save/${kind}`, { method: "POST", headers, body });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      this.refused(error);
    }
  }
}

/** Return the message of an error. */
function readable(error) {
  const text = error instanceof Refusal ? error.message : `The server does not respond (${error.message})`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
