// Prompts in the form that the server sends: points [x, y, label] and a box [x1, y1, x2, y2] or null. If a mask was
// chosen, also `chosen`, its index, and `steps`, the earlier prompts whose chosen masks are fed back.

export const NOTHING = { points: [], box: null };

/** Return whether a prompt locates the object; background points alone do not. */
export function hasObject({ points, box }) {
  return box !== null || points.some(([, , label]) => label === 1);
}

/** Return whether a prompt has any mark. */
export function marks({ points, box }) {
  return points.length > 0 || box !== null;
}

/** Return whether a mask was chosen for a prompt or one of its steps. */
export function choices({ steps = [], chosen = null }) {
  return steps.length > 0 || chosen !== null;
}

/** Return a prompt after actions, without undo and redo, whose prompts only the server has. */
export function after(prompt, actions) {
  let { points, box } = prompt;
  for (const action of actions) {
    if (action.do === "point") points = [...points, [action.x, action.y, action.label]];
    else if (action.do === "box") box = action.box;
    else if (action.do === "clear") ({ points, box } = NOTHING);
  }
  return { points, box };
}
