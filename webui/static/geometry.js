// The position of the image in the view: a fit is its scale and its upper left corner, in CSS pixels.

/** Return the fit of an image that is centered in a view, as large as possible, at most `most` times its size. */
export function fit(view, image, most = Infinity) {
  const scale = Math.min(view.width / image.width, view.height / image.height, most);
  return {
    scale,
    left: (view.width - image.width * scale) / 2,
    top: (view.height - image.height * scale) / 2,
    width: image.width,
    height: image.height,
  };
}

/** Return the pixel of the image at a position in the view, or null outside the image. */
export function pixelAt(fitted, x, y) {
  const column = Math.floor((x - fitted.left) / fitted.scale);
  const row = Math.floor((y - fitted.top) / fitted.scale);
  const inside = column >= 0 && row >= 0 && column < fitted.width && row < fitted.height;
  return inside ? { x: column, y: row } : null;
}

/** Return the pixel of the image nearest to a position in the view. */
export function nearestPixel(fitted, x, y) {
  const clamp = (value, last) => Math.min(Math.max(value, 0), last);
  return {
    x: clamp(Math.floor((x - fitted.left) / fitted.scale), fitted.width - 1),
    y: clamp(Math.floor((y - fitted.top) / fitted.scale), fitted.height - 1),
  };
}

/** Return the position in the view of the center of a pixel. */
export function placeOf(fitted, x, y) {
  return { x: fitted.left + (x + 0.5) * fitted.scale, y: fitted.top + (y + 0.5) * fitted.scale };
}

/** Return the box between two positions in the view, in pixels of the image; null if it has no area. */
export function boxBetween(fitted, from, to) {
  const a = nearestPixel(fitted, from.x, from.y);
  const b = nearestPixel(fitted, to.x, to.y);
  if (a.x === b.x || a.y === b.y) return null;
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
}
