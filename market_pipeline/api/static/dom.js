// Elements from data. Text goes in as text, never as markup: nothing stored becomes part of the page.

const SVG = "http://www.w3.org/2000/svg";

/** Create an element with attributes and children; a string becomes text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Create an SVG element. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Set the text of `node` if it differs, so that nothing flickers and no screen reader repeats it. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set or remove an attribute. */
export function mark(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Make the children of `parent` those of `items`, in their order. An item that has a node already reuses it;
 * `create(item)` creates one with a method `update(item)`.
 */
export function keyed(parent, items, keyOf, create) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = keyOf(item);
    const child = there.get(key) ?? create(item);
    child.dataset.key = key;
    child.update(item);
    there.delete(key);
    return child;
  });
  for (const gone of there.values()) gone.remove();
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

/** Create a link to another page, in a new tab. */
export function link(href, text, label) {
  const made = element("a", { href, target: "_blank", rel: "noopener noreferrer" }, text);
  if (label) made.setAttribute("aria-label", label);
  return made;
}
