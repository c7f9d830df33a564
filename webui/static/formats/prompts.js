// The prompt file, see mobilesam/prompts/file.py.

/** @typedef {import("../prompt.js").Prompt} Prompt */
/** @typedef {{ prompt: Prompt, label: string }} Prompted */

/** Return the text of a prompt file, with one object on each line. @param {string} name of the image @param {Prompted[]} objects */
export function promptsText(name, objects) {
  const version = objects.some(({ prompt }) => needsSteps(prompt)) ? 2 : 1;
  const lines = objects.map((object) => `  ${JSON.stringify(entryOf(object))}`);
  return `{"version": ${version}, "images": {\n${JSON.stringify(name)}: [\n${lines.join(",\n")}\n]\n}}\n`;
}

/** Return whether an object must be written as steps, which version 1 does not have. @param {Prompt} prompt */
function needsSteps({ steps, chosen }) {
  return steps.length > 0 || chosen !== null;
}

/** @param {Prompted} object */
function entryOf({ prompt, label }) {
  const entry = needsSteps(prompt) ? { steps: [...prompt.steps, prompt].map(stepOf) } : stepOf(prompt);
  return label ? { ...entry, label } : entry;
}

/** @param {Prompt} prompt */
function stepOf({ points, box, chosen }) {
  return { ...(points.length ? { points } : {}), ...(box ? { box } : {}), ...(chosen === null ? {} : { chosen }) };
}
