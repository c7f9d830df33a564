// Between the picture and the window: a fit says where the picture lies in the view, in CSS pixels.

/** Return how a picture lies in a view, as large as it fits, in the middle, at most `most` times its size. */
export function fit(view, picture, most = Infinity) {
  const scale = Math.min(view.width / picture.width, view.height / picture.height, most);
  return {
    scale,
    left: (view.width - picture.width * scale) / 2,
    top: (view.height - picture.height * scale) / 2,
    width: picture.width,
    height: picture.height,
  };
}

/** Return the pixel of the picture under a place in the view, or null beside the picture. */
export function pixelAt(fitted, x, y) {
  const column = Math.floor((x - fitted.left) / fitted.scale);
  const row = Math.floor((y - fitted.top) / fitted.scale);
  const inside = column >= 0 && row >= 0 && column < fitted.width && row < fitted.height;
  return inside ? { x: column, y: row } : null;
}

/** Return the pixel of the picture nearest to a place in the view. */
export function nearestPixel(fitted, x, y) {
  const clamp = (value, last) => Math.min(Math.max(value, 0), last);
  return {
    x: clamp(Math.floor((x - fitted.left) / fitted.scale), fitted.width - 1),
    y: clamp(Math.floor((y - fitted.top) / fitted.scale), fitted.height - 1),
  };
}

/** Return the place in the view of the middle of a pixel. */
export function placeOf(fitted, x, y) {
  return { x: fitted.left + (x + 0.5) * fitted.scale, y: fitted.top + (y + 0.5) * fitted.scale };
}

/** Return the box that a drag between two places in the view draws, in pixels; null if it has no area. */
export function boxBetween(fitted, from, to) {
  const a = nearestPixel(fitted, from.x, from.y);
  const b = nearestPixel(fitted, to.x, to.y);
  if (a.x === b.x || a.y === b.y) return null;
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
}
