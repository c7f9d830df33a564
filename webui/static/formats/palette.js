// The colors of masks, see `palette` in mobilesam/visualize.py.

/** @typedef {[number, number, number]} Color RGB */

const GOLDEN_ANGLE = 137.50776; // degrees
const LIGHTNESS = [0.7, 0.58, 0.82];
const CHROMA = 0.19;
const TO_LINEAR_RGB = [
  [4.0767416621, -3.3077115913, 0.2309699292],
  [-1.2684380046, 2.6097574011, -0.3413193965],
  [-0.0041960863, -0.7034186147, 1.707614701],
];

/** Return distinct colors; the first ones are the same for every count. @param {number} count @returns {Color[]} */
export function palette(count) {
  return Array.from({ length: count }, (_, index) => colorOf(index));
}

/** @param {number} index @returns {Color} */
function colorOf(index) {
  const hue = ((255 + GOLDEN_ANGLE * index) * Math.PI) / 180;
  const lightness = LIGHTNESS[Math.floor(index / 8) % 3];
  const [a, b] = [CHROMA * Math.cos(hue), CHROMA * Math.sin(hue)];
  const cone = [
    lightness + 0.3963377774 * a + 0.2158037573 * b,
    lightness - 0.1055613458 * a - 0.0638541728 * b,
    lightness - 0.0894841775 * a - 1.291485548 * b,
  ];
  const color = TO_LINEAR_RGB.map((weights) => {
    const sum = weights.reduce((total, weight, channel) => total + weight * cone[channel] ** 3, 0);
    const linear = Math.min(Math.max(sum, 0), 1);
    return Math.round(255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055));
  });
  return [color[0], color[1], color[2]];
}
