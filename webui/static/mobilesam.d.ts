// The types of mobilesam.js.

export type ImageSource = ImageData | ImageBitmap | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement;

export interface LoadOptions {
  /** Threads on a cross-origin isolated page; by default one for each core, at most four. Other pages have one. */
  threads?: number;
  /** Encode on the GPU, where it gives the embedding of a known image. */
  webgpu?: boolean;
  /** Called with the file that is fetched, and the bytes so far and in all, of the files that are not kept yet. */
  onDownload?: (file: string, done: number, total: number) => void;
  /** Called with a sentence for the user, for example if the browser cannot keep the files. */
  onNote?: (text: string) => void;
}

/** In pixels of the image. */
export interface Prompt {
  /** x and y of each point. */
  points?: ArrayLike<number>[];
  /** 1 for foreground, 0 for background, -1 for padding that is ignored. */
  labels?: ArrayLike<number>;
  /** x1, y1, x2, y2. */
  box?: ArrayLike<number>;
  /** 256 x 256 logits of an earlier prediction. */
  maskInput?: Float32Array;
}

export interface Prediction {
  /** width * height zeros and ones each, row by row. */
  masks: Uint8Array[];
  width: number;
  height: number;
  iouPredictions: number[];
  /** 256 x 256 for each mask; one of them can be the next maskInput. */
  lowResLogits: Float32Array[];
}

export interface EverythingOptions {
  /** Points on a side of the square of prompts, 32 by default. */
  pointsPerSide?: number;
  /** "exact" by default. */
  mode?: "exact" | "balanced" | "fast";
  /** The least predicted IoU, 0.88 by default. */
  predIouThresh?: number;
  /** The least stability score, 0.95 by default. */
  stabilityScoreThresh?: number;
  /** Of masks whose boxes have a higher IoU, one is kept; 0.7 by default. */
  boxNmsThresh?: number;
  /** Fill holes and remove islands of fewer pixels. */
  minMaskRegionArea?: number;
  /** Ends the run with the records so far. */
  signal?: AbortSignal;
  /** Called with the points decoded, the points in all, and the approximate number of masks. */
  onProgress?: (done: number, total: number, masks: number) => void;
}

/** One mask, with the keys of SAM's automatic mask generator. */
export interface MaskRecord {
  /** Run lengths along the columns, the background first; size: height, width. */
  segmentation: { size: [number, number]; counts: number[] };
  area: number;
  /** x, y, width, height; one pixel narrower and lower than the mask, as SAM's. */
  bbox: [number, number, number, number];
  predicted_iou: number;
  point_coords: [number, number][];
  stability_score: number;
  crop_box: [number, number, number, number];
}

/** An argument, an image or a file that cannot be used; the message says what to do. */
export class InputError extends Error {
  constructor(message: string);
}

export class MobileSam {
  /** Load the model of a folder that `mobilesam site` wrote; by default that of this script. */
  static load(url?: string | URL, options?: LoadOptions): Promise<MobileSam>;
  /** Encode an image. A failure keeps the earlier one. */
  setImage(image: ImageSource): Promise<void>;
  /** Return three masks of the object of a prompt, or one without multimask. */
  predict(prompt: Prompt & { multimask?: boolean }): Promise<Prediction>;
  /** Return the mask of the object that is most likely meant; confidence: the IoU to expect with it, or null. */
  predictOne(prompt: Prompt): Promise<Prediction & { confidence: number | null }>;
  /** Return a record for each object of the image, best first; partial if the run was aborted. */
  everything(options?: EverythingOptions): Promise<MaskRecord[] & { partial: boolean }>;
  /** End the worker and free its memory. */
  close(): void;
}
