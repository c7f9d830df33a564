// Errors and their messages, as in mobilesam/errors.py.

/** An argument, an image or a file that cannot be used. */
export class InputError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "InputError";
  }
}

/** Return an error about an argument: *argument* must *requirement*, got *actual*; *remedy*. @param {string} argument @param {string} requirement @param {unknown} actual @param {string} remedy */
export function refused(argument, requirement, actual, remedy) {
  return new InputError(`${argument} must ${requirement}, got ${actual}; ${remedy}`);
}

/** Return an error about a name that is not one of the choices. @param {string} argument @param {unknown} name @param {string[]} choices */
export function unknownName(argument, name, choices) {
  return refused(argument, `be one of ${choices.join(", ")}`, `'${name}'`, "choose one of them");
}

/** Check a number. @param {string} name @param {unknown} value @param {number} low @param {number} [high] */
export function checkNumber(name, value, low, high = Infinity) {
  if (typeof value === "number" && Number.isFinite(value) && low <= value && value <= high) return;
  const requirement = high < Infinity ? `be from ${low} to ${high}` : `be a number of at least ${low}`;
  throw refused(name, requirement, String(value), "leave it out for the default");
}

/** Check a whole number. @param {string} name @param {unknown} value @param {number} low @param {number} high */
export function checkWhole(name, value, low, high) {
  if (Number.isInteger(value) && low <= Number(value) && Number(value) <= high) return;
  throw refused(name, `be a whole number from ${low} to ${high}`, String(value), "leave it out for the default");
}
