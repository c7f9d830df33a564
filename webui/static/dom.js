// Small helpers for the page's elements.

/**
 * Return a new element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | boolean>} [attributes] false leaves one out, true sets it without a value
 * @param {(string | Node)[]} content
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, value);
  }
  made.append(...content);
  return made;
}

/** Set the text of an element, unless it has it: a live region speaks at each change. @param {Element} target @param {string} text */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Set or remove an attribute, unless it has that value. @param {Element} target @param {string} name @param {string | boolean | null} value */
export function setAttribute(target, name, value) {
  if (value === null || value === false) target.removeAttribute(name);
  else if (target.getAttribute(name) !== String(value === true ? "" : value)) target.setAttribute(name, value === true ? "" : value);
}

/**
 * Make the children of a container those of a list: each keeps its element, and so its focus, for as long as its key is listed.
 * @template Item
 * @param {Element} container
 * @param {Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => HTMLElement} create
 * @param {(element: HTMLElement, item: Item) => void} update
 */
export function syncList(container, items, keyOf, create, update) {
  const old = new Map([...container.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, /** @type {HTMLElement} */ (child)]));
  const wanted = items.map((item) => {
    const key = keyOf(item);
    const child = old.get(key) ?? create(item);
    child.dataset.key = key;
    update(child, item);
    old.delete(key);
    return child;
  });
  for (const child of old.values()) child.remove();
  wanted.forEach((child, index) => {
    if (container.children[index] !== child) container.insertBefore(child, container.children[index] ?? null);
  });
}

/**
 * Let arrow keys, Home and End move the focus in a group of buttons, of which one can be reached with Tab.
 * @param {HTMLElement} group
 * @param {string} selector of its buttons
 * @param {(button: HTMLElement) => void} [onMove] called with the newly focused one
 */
export function rove(group, selector, onMove) {
  group.addEventListener("keydown", (event) => {
    const buttons = /** @type {HTMLElement[]} */ ([...group.querySelectorAll(selector)]).filter((button) => button.offsetParent !== null);
    const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = buttons.length - 1;
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    const button = buttons[to < 0 ? last : to > last ? 0 : to];
    button.focus();
    onMove?.(button);
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Let Tab reach only one button of a group: the one that is wanted, or the first. @param {Element} group @param {string} selector @param {(button: HTMLElement) => boolean} isWanted */
export function setRoving(group, selector, isWanted) {
  const buttons = /** @type {HTMLElement[]} */ ([...group.querySelectorAll(selector)]);
  const focused = buttons.find((button) => button === document.activeElement);
  const one = focused ?? buttons.find(isWanted) ?? buttons[0];
  for (const button of buttons) setAttribute(button, "tabindex", button === one ? "0" : "-1");
}
