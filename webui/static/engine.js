// The interface between the page and what runs the model. All coordinates are pixels of the original image.

/** An error with a message for the user. `expired`: the image must be opened again, and the page has no file of it. */
export class Refusal extends Error {
  /** @param {string} message @param {boolean} [expired] */
  constructor(message, expired = false) {
    super(message);
    this.name = "Refusal";
    this.expired = expired;
  }
}

/**
 * @typedef {{ width: number, height: number }} Size
 * @typedef {{ x: number, y: number, width: number, height: number }} Area
 * @typedef {[number, number, number]} Color
 *
 * @typedef {object} ShownImage
 * @property {string} key names the image in requests
 * @property {string} name of the file
 * @property {string} note for the user, such as "The first of 3 frames is shown.", or ""
 * @property {number} width of the original
 * @property {number} height of the original
 * @property {Size} shown the size at which the image and its masks are sent
 *
 * @typedef {object} Settings
 * @property {Record<string, string>} models name to label
 * @property {string[]} modes of everything mode
 * @property {string[]} samples the file names of the sample photos
 * @property {string} [note] for the user
 * @property {"server" | "tab"} [runs] where the model runs
 * @property {string[]} [formats] that can be saved; all if it is absent
 * @property {Record<string, string>} [decoders] model to the address of a decoder that can run in this tab
 * @property {number} max_upload_mb
 * @property {string} model the name of the model in use
 * @property {ShownImage | null} image that is open from before a reload
 *
 * @typedef {object} Mask a candidate mask of a prompt
 * @property {number} index the decoder's own index
 * @property {number} predicted_iou
 * @property {number | null} confidence the IoU to expect with the object that is meant
 * @property {string} rle at the size at which the image is shown; see masks.js
 *
 * @typedef {object} Prediction
 * @property {Mask[]} masks
 * @property {number} best the position of the mask that is suggested
 * @property {number} decode_ms
 * @property {"tab"} [place] where the masks were decoded, if not on the server
 * @property {boolean} refined false if the model cannot refine a chosen mask, and used points and box alone
 *
 * @typedef {object} Frozen a mask at the original size, as COCO run lengths
 * @property {{ size: [number, number], counts: string }} segmentation
 * @property {number} area
 * @property {number[]} bbox COCO's: x, y, width, height
 * @property {number} predicted_iou
 * @property {number} stability_score
 * @property {number | null} confidence
 * @property {number[][]} point_coords
 * @property {string} rle at the size at which the image is shown
 *
 * @typedef {object} Segment of everything mode
 * @property {string} rle
 * @property {number} area
 * @property {number} share of the image's pixels
 * @property {number} predicted_iou
 * @property {Color} color
 *
 * @typedef {{ segments: Segment[], partial: boolean, ms: number, run: number }} Run
 * @typedef {{ image: ShownImage | null, model: string, encode_ms: number }} Opened
 * @typedef {import("./prompt.js").Prompt} Prompt
 * @typedef {{ prompt: Prompt, clean: boolean } | { run: number, segments: number[] }} Freezable
 * @typedef {{ objects: object[] } | { run: number, selected: number[] }} Saved
 * @typedef {{ signal?: AbortSignal, onWaiting?: (place: number) => void }} Options
 *
 * @typedef {object} Engine
 * @property {() => Promise<Settings>} start
 * @property {(file: File, options?: Options & { onImage?: (image: ShownImage) => void }) => Promise<Opened>} open
 *   reads and encodes an image; `onImage` is called when it can be shown
 * @property {(name: string, options?: Options) => Promise<Opened>} use another model
 * @property {(image: ShownImage, signal?: AbortSignal) => Promise<Blob>} preview
 * @property {(image: ShownImage, area: Area, side: number, signal?: AbortSignal) => Promise<Blob>} crop
 *   part of the original image, with sides of at most `side` pixels
 * @property {(image: ShownImage, prompt: Prompt, options?: { clean?: boolean, hover?: boolean, signal?: AbortSignal }) => Promise<Prediction>} predict
 *   with `hover`, there may be no masks while others wait
 * @property {(image: ShownImage, what: Freezable, signal?: AbortSignal) => Promise<Frozen[]>} freeze
 * @property {(image: ShownImage, mode: string, options?: Options & { clean?: boolean, onProgress?: (share: number, candidates: number) => void }) => Promise<Run>} everything
 *   an aborted run returns the segments so far
 * @property {(image: ShownImage, kind: string, what: Saved, signal?: AbortSignal) => Promise<{ blob: Blob, name: string }>} save
 * @property {(file: string) => string} sample the address of a sample photo
 * @property {() => void} close forgets the open image
 */
