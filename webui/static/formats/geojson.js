// GeoJSON in pixels, see mobilesam/formats/geojson.py.

import { areaOf } from "../model/rle.js";
import { detailsOf, known, labelOf } from "./masked_image.js";
import { outlinesOf } from "./outlines.js";

const VERSION = 2;
const IDENTITY = [1, 0, 0, 0, 1, 0];

/** @param {import("./masked_image.js").MaskedImage} image */
export function geojsonText({ name, width, height, masks }) {
  const features = masks.map((mask, index) => ({
    type: "Feature",
    id: index + 1,
    properties: {
      label: labelOf(mask),
      area: areaOf(mask.boundaries),
      predicted_iou: known(mask.predicted_iou),
      stability_score: known(mask.stability_score),
      point_coords: mask.point_coords,
      ...detailsOf(mask),
    },
    geometry: geometryOf(outlinesOf(mask.boundaries, height).map(({ exterior, holes }) => [exterior, ...holes])),
  }));
  const image = { file_name: name, width, height, transform: IDENTITY };
  return `${JSON.stringify({ type: "FeatureCollection", version: VERSION, image, features })}\n`;
}

/** @param {import("./outlines.js").Ring[][]} polygons */
function geometryOf(polygons) {
  if (!polygons.length) return null;
  if (polygons.length === 1) return { type: "Polygon", coordinates: polygons[0] };
  return { type: "MultiPolygon", coordinates: polygons };
}
