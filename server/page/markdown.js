// A Markdown text that grows, as DOM nodes. Only its last two blocks are made again when something comes: the line
// that is not complete may still turn out to belong to the block before, as "#" does when it becomes "#1".

import { blocks } from "./blocks.js";
import { copyButton, element } from "./dom.js";
import { inline } from "./inline.js";

export class Markdown {
  constructor() {
    this.element = element("div", { class: "content" });
    this.text = "";
    this.kept = 0; // characters whose nodes will not change any more
    this.tail = []; // the nodes of what may still change
  }

  // Shows `text`. What was shown before is kept as far as `text` begins with it.
  show(text) {
    if (text === this.text) return;
    if (!text.startsWith(this.text)) {
      this.element.replaceChildren();
      this.kept = 0;
      this.tail = [];
    }
    this.text = text;
    this.tail.forEach((node) => node.remove());
    const lines = text.slice(this.kept).replaceAll("\t", "    ").replaceAll("\r", "").split("\n");
    const found = blocks(lines);
    const nodes = found.map(blockNode);
    this.element.append(...nodes);
    this.tail = nodes.slice(-2);
    if (found.length) this.kept = lineStart(text, this.kept, found.at(-this.tail.length).line);
  }
}

function lineStart(text, from, n) {
  for (let i = 0; i < n; i += 1) from = text.indexOf("\n", from) + 1;
  return from;
}

function blockNode(block) {
  switch (block.kind) {
    case "code":
      return codeNode(block);
    case "heading": // a page's and a message's own headings are above
      return element(`h${Math.min(6, block.level + 2)}`, {}, ...inline(block.text));
    case "rule":
      return element("hr");
    case "quote":
      return element("blockquote", {}, ...block.blocks.map(blockNode));
    case "list":
      return listNode(block);
    case "table":
      return tableNode(block);
    default:
      return element("p", {}, ...inline(block.text));
  }
}

function codeNode({ language, text }) {
  const name = language || "code";
  return element(
    "div",
    { class: "code" },
    element("div", { class: "bar" }, element("span", {}, name), copyButton(() => text)),
    element("pre", { tabindex: "0", role: "group", "aria-label": name }, element("code", {}, text)),
  );
}

function listNode({ isNumbered, start, isLoose, items }) {
  const nodes = items.map((inner) => {
    const children = inner.map((block) =>
      block.kind === "paragraph" && !isLoose ? inline(block.text) : [blockNode(block)],
    );
    return element("li", {}, ...children.flat());
  });
  return element(isNumbered ? "ol" : "ul", { start: isNumbered && start !== 1 && String(start) }, ...nodes);
}

function tableNode({ head, sides, rows }) {
  const row = (tag, texts) =>
    element("tr", {}, ...texts.map((text, i) => element(tag, { class: sides[i] }, ...inline(text))));
  const body = rows.map((texts) => row("td", texts));
  const table = element("table", {}, element("thead", {}, row("th", head)), element("tbody", {}, ...body));
  return element("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, table);
}
