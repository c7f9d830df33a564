// Files of masks, alone or in one archive, see webui/saving.py.

import { InputError, refused, unknownName } from "../model/errors.js";
import { rowsOf } from "../model/pixels.js";
import { hasObject } from "../prompt.js";
import { cocoText } from "./coco.js";
import { csvText } from "./csv.js";
import { geojsonText } from "./geojson.js";
import { labelmeText } from "./labelme.js";
import { cutoutPng, indexedPng, instancesPng, maskPng } from "./maps.js";
import { labelOf, labelsOf, OBJECT } from "./masked_image.js";
import { overlayPng } from "./overlay.js";
import { promptsText } from "./prompts.js";
import { yoloNamesText, yoloText } from "./yolo.js";
import { Zip } from "./zip.js";

/**
 * @typedef {object} SavedMask
 * @property {import("../model/rle.js").Boundaries} boundaries of its runs at the original size, see rle.js
 * @property {number | null} predicted_iou
 * @property {number | null} stability_score
 * @property {number | null} confidence
 * @property {number[][]} point_coords
 * @property {string} label "" for none
 * @property {import("../prompt.js").Prompt | null} prompt that gave it
 *
 * @typedef {{ name: string, width: number, height: number, bitmap: ImageBitmap }} SavedImage
 * @typedef {import("../model/resize.js").Rows & { name: string, masks: SavedMask[] }} Source
 * @typedef {{ blob: Blob, name: string }} Saved
 */

/** @type {Record<string, { ending: string, type: string, content: (source: Source) => string | Promise<Uint8Array<ArrayBuffer>> }>} */
const FORMATS = {
  overlay: { ending: ".overlay.png", type: "image/png", content: (source) => overlayPng(source.masks, source) },
  mask: { ending: ".mask.png", type: "image/png", content: (source) => maskPng(source.masks, source) },
  cutout: { ending: ".cutout.png", type: "image/png", content: (source) => cutoutPng(source.masks, source) },
  indexed: { ending: ".indexed.png", type: "image/png", content: (source) => indexedPng(source.masks, source) },
  instances: { ending: ".instances.png", type: "image/png", content: (source) => instancesPng(source.masks, source) },
  coco: { ending: ".coco.json", type: "application/json", content: cocoText },
  labelme: { ending: ".json", type: "application/json", content: labelmeText },
  yolo: { ending: ".txt", type: "text/plain", content: yoloText },
  csv: { ending: ".csv", type: "text/csv", content: csvText },
  geojson: { ending: ".geojson", type: "application/geo+json", content: geojsonText },
  prompts: { ending: ".prompts.json", type: "application/json", content: promptsOf },
};
export const KINDS = [...Object.keys(FORMATS), "masks", "all"];
const IN_ALL = ["coco", "labelme", "yolo", "instances", "csv", "geojson", "masks"];
// The formats that are slow for many masks.
const BY_PIXELS = ["overlay", "indexed", "instances", "labelme", "yolo", "geojson", "masks", "all"];
const MAX_PIXELS = 20e9; // of all masks of one file together, in these formats
const MAX_MASKS = 5000;
const MAX_LABEL = 100; // characters
const MAX_LABEL_IN_NAME = 40;
const YOLO_NAMES = "data.yaml";

/** Return a file of masks. At most one mask of the size of the image is in memory at a time. @param {string} kind one of KINDS: a format, "masks" for an archive of one PNG a mask, or "all" for an archive of the usual formats @param {SavedImage} image @param {SavedMask[]} masks @returns {Promise<Saved>} */
export async function save(kind, { name, width, height, bitmap }, masks) {
  return saveRows(kind, { name, width, height, rows: (top, count) => rowsOf(bitmap).rows(top, count) }, masks);
}

/** Return a file of masks, of an image of which rows can be read. @param {string} kind @param {import("../model/resize.js").Rows & { name: string }} image @param {SavedMask[]} masks @returns {Promise<Saved>} */
export async function saveRows(kind, image, masks) {
  if (!KINDS.includes(kind)) throw unknownName("kind", kind, KINDS);
  const source = { ...image, masks: checked(masks) };
  const { name, width, height } = image;
  if (BY_PIXELS.includes(kind) && masks.length * width * height > MAX_PIXELS) {
    const many = `${masks.length} masks of ${width} x ${height} pixels`;
    throw new InputError(`${many} are too many for one file in this format. Save them as COCO, or save fewer at once.`);
  }
  const hasPrompts = masks.some(({ prompt }) => prompt);
  if (kind === "all") return archive(source, [...(hasPrompts ? ["prompts"] : []), ...IN_ALL], ".mobilesam.zip");
  if (kind === "masks") return archive(source, ["masks"], ".masks.zip");
  const labels = labelsOf(source.masks);
  if (kind === "yolo" && (labels.length > 1 || labels[0] !== OBJECT)) return archive(source, ["yolo"], ".yolo.zip");
  const { ending, type, content } = FORMATS[kind];
  return { blob: new Blob([await content(source)], { type }), name: stemOf(name) + ending };
}

/** Return masks with clean labels. @param {SavedMask[]} masks */
function checked(masks) {
  if (masks.length > MAX_MASKS) {
    throw refused("objects", `be a list of at most ${MAX_MASKS}`, masks.length, "save fewer at once");
  }
  if (!masks.length) throw new InputError("There is no mask to save. Click the object first.");
  return masks.map((mask, index) => {
    const where = `objects[${index}]`;
    const label = mask.label.replace(/[\p{C}\p{Z}]+/gu, " ").trim();
    const { length } = [...label];
    if (length > MAX_LABEL) {
      throw refused(`${where}.label`, `have at most ${MAX_LABEL} characters`, length, "write a shorter one");
    }
    if (mask.prompt) checkPrompt(mask.prompt, where);
    return { ...mask, label };
  });
}

/** @param {import("../prompt.js").Prompt} prompt @param {string} where */
function checkPrompt(prompt, where) {
  const first = prompt.steps[0] ?? prompt;
  if (hasObject(first)) return;
  const actual = first.points.length ? "background points alone" : "neither";
  const remedy = "add a point of label 1 on the object, or a box around it";
  throw refused(`${where}.prompt`, "have a foreground point or a box", actual, remedy);
}

/** @param {Source} source */
function promptsOf({ name, masks }) {
  const objects = masks.flatMap(({ prompt, label }) => (prompt ? [{ prompt, label }] : []));
  if (!objects.length) throw new InputError("There is no prompt to save. Click the object first.");
  return promptsText(name, objects);
}

/** @param {Source} source @param {string[]} kinds @param {string} ending @returns {Promise<Saved>} */
async function archive(source, kinds, ending) {
  const zip = new Zip();
  const stem = stemOf(source.name);
  for (const kind of kinds) {
    if (kind === "masks") {
      await addMasks(zip, source);
      continue;
    }
    const { ending: ofFile, content } = FORMATS[kind];
    await zip.add(stem + ofFile, bytesOf(await content(source)));
    if (kind === "yolo") await zip.add(YOLO_NAMES, bytesOf(yoloNamesText(labelsOf(source.masks))));
  }
  return { blob: zip.blob(), name: stem + ending };
}

/** Add one PNG a mask, named after its number and label. @param {Zip} zip @param {Source} source */
async function addMasks(zip, source) {
  const digits = String(source.masks.length).length;
  for (const [index, mask] of source.masks.entries()) {
    const label = labelOf(mask).replace(/[^\p{L}\p{N}_]+/gu, "-").replace(/^-|-$/g, "");
    const shown = [...label].slice(0, MAX_LABEL_IN_NAME).join("") || OBJECT;
    const number = String(index + 1).padStart(digits, "0");
    await zip.add(`masks/${stemOf(source.name)}-${number}-${shown}.png`, await maskPng([mask], source));
  }
}

/** @param {string | Uint8Array<ArrayBuffer>} content */
function bytesOf(content) {
  return typeof content === "string" ? new TextEncoder().encode(content) : content;
}

/** Return the name of a file without its folder and its ending. @param {string} name */
function stemOf(name) {
  const file = name.split("/").findLast((part) => part && part !== ".") ?? "";
  const dot = file.lastIndexOf(".");
  return (dot > 0 && dot < file.length - 1 ? file.slice(0, dot) : file) || "image";
}
