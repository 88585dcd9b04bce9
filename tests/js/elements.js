/** A minimal document with text, attributes and listeners, for tests of modules that write into elements. */

class TextNode {
  constructor(data) {
    this.data = data;
  }

  get length() {
    return this.data.length;
  }

  get textContent() {
    return this.data;
  }

  appendData(text) {
    this.data += text;
  }
}

class Element {
  constructor(tag) {
    this.localName = tag;
    this.children = [];
    this.attributes = new Map();
    this.listeners = {};
    this.hidden = false;
    this.value = "";
  }

  get textContent() {
    return this.children.map((child) => child.textContent).join("");
  }

  set textContent(text) {
    this.children = [new TextNode(text)];
  }

  append(...nodes) {
    this.children.push(...nodes.map((node) => (typeof node === "string" ? new TextNode(node) : node)));
  }

  replaceChildren(...nodes) {
    this.children = [];
    this.append(...nodes);
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
    if (name === "hidden") this.hidden = true;
  }

  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }

  focus() {}

  select() {}
}

/** A range whose text is that between its ends; both ends are in text nodes below the same parent. */
export class Range {
  setStart(node, offset) {
    this.start = { node, offset };
  }

  setEnd(node, offset) {
    this.end = { node, offset };
  }
}

class Highlight extends Set {
  constructor(...ranges) {
    super(ranges);
  }
}

/** Define them as globals, as in a browser. */
export function install() {
  Object.assign(globalThis, {
    Range,
    Highlight,
    CSS: { highlights: new Map() },
    document: { createElement: (tag) => new Element(tag), createTextNode: (data) => new TextNode(data) },
  });
}
