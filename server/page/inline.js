// The Markdown within a paragraph: emphasis, code, links. Gives DOM nodes; HTML stays the text that it is.

import { element } from "./dom.js";

const OPENERS_MAX = 32; // so deep emphasis is nested, and no deeper
const TOKEN =
  /`+|\\[!"#$%&'*+,\-./:;<=>?@^_`{|}~\\]|!?\[|\]|\*+|_+|~~|https?:\/\/[^\s<>"'`*]+| {2,16}\n|\\\n|[^`\\![\]*_~h \n]+|[^]/gy;
const TARGET = /\]\( *<?([^\s()<>]{1,2000}(?:\([^\s()<>]{0,500}\)[^\s()<>]{0,500}){0,8})>?(?: +"[^"]{0,500}")? *\)/y;
const TAGS = { 1: "em", 2: "strong" };

export function inline(text) {
  const parser = new Parser(text);
  parser.run();
  return parser.nodes;
}

// The address of a link that may be followed; null for others, as javascript: and relative ones.
function safeAddress(text) {
  try {
    const address = new URL(text);
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

function link(address, ...children) {
  return element("a", { href: address, title: address, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

class Parser {
  constructor(text) {
    this.text = text;
    this.nodes = [];
    this.openers = []; // what may yet be closed: { kind, count, at: index of its text in nodes }
    this.ticks = new Set(); // lengths of runs of ` that nothing closes
  }

  run() {
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < this.text.length) {
      const at = TOKEN.lastIndex;
      const token = TOKEN.exec(this.text)[0];
      const end = TOKEN.lastIndex;
      TOKEN.lastIndex = this.take(token, at, end);
    }
  }

  // Handles one token and gives the place where the next one begins.
  take(token, at, end) {
    if (token[0] === "`") return this.code(token, end);
    if (token === "[" || token === "![") this.open(token, 1);
    else if (token === "]") return this.closeLink(at, end);
    else if (token[0] === "*" || token[0] === "_" || token === "~~") this.emphasis(token, at, end);
    else if (token.length > 8 && /^https?:/.test(token)) return this.address(token, at);
    else if (token.endsWith("\n") && token.length > 1) this.nodes.push(element("br"));
    else this.write(token.length === 2 && token[0] === "\\" ? token[1] : token);
    return end;
  }

  write(text) {
    const last = this.nodes.at(-1);
    const isTaken = this.openers.at(-1)?.at === this.nodes.length - 1;
    if (typeof last === "string" && !isTaken) this.nodes[this.nodes.length - 1] = last + text;
    else this.nodes.push(text);
  }

  open(text, count, kind = text) {
    const isRoom = this.openers.length < OPENERS_MAX;
    if (isRoom) this.openers.push({ kind, count, at: this.nodes.length });
    if (isRoom) this.nodes.push(text);
    else this.write(text);
  }

  code(ticks, end) {
    let close = -1;
    if (!this.ticks.has(ticks.length)) {
      const run = /`+/g;
      run.lastIndex = end;
      for (let found; close < 0 && (found = run.exec(this.text)); ) {
        if (found[0].length === ticks.length) close = found.index;
      }
    }
    if (close < 0) {
      this.ticks.add(ticks.length);
      this.write(ticks);
      return end;
    }
    const inner = this.text.slice(end, close).replaceAll("\n", " ");
    const isPadded = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim() !== "";
    this.nodes.push(element("code", {}, isPadded ? inner.slice(1, -1) : inner));
    return close + ticks.length;
  }

  address(token, at) {
    let n = token.length;
    while (/[.,;:!?)\]}]/.test(token[n - 1])) {
      if (token[n - 1] === ")" && token.slice(0, n).includes("(")) break;
      n -= 1;
    }
    const text = token.slice(0, n);
    const address = safeAddress(text);
    if (address === null) this.write(text);
    else this.nodes.push(link(address, text));
    return at + n;
  }

  // `[text](address)`; an image is a link to it, since nothing is ever loaded from elsewhere.
  closeLink(at, end) {
    const i = this.openers.findLastIndex(({ kind }) => kind === "[" || kind === "![");
    TARGET.lastIndex = at;
    const target = i < 0 ? null : TARGET.exec(this.text);
    const address = target && safeAddress(target[1]);
    if (!address) {
      if (i >= 0) this.openers.splice(i, 1);
      this.write("]");
      return end;
    }
    const inner = this.nodes.splice(this.openers[i].at).slice(1);
    this.openers.length = i;
    this.nodes.push(link(address, ...(inner.length ? inner : [target[1]])));
    return at + target[0].length;
  }

  emphasis(run, at, end) {
    const before = at ? this.text[at - 1] : " ";
    const after = end < this.text.length ? this.text[end] : " ";
    const isWord = /[\p{L}\p{N}]/u;
    const isInside = run[0] === "_" && isWord.test(before) && isWord.test(after); // snake_case
    const opens = !/\s/.test(after) && !isInside && (!/\p{P}/u.test(after) || /[\s\p{P}]/u.test(before));
    const closes = !/\s/.test(before) && !isInside && (!/\p{P}/u.test(before) || /[\s\p{P}]/u.test(after));
    let left = run.length;
    while (closes && left) {
      const i = this.openers.findLastIndex(({ kind }) => kind === run[0]);
      if (i < 0) break;
      const opener = this.openers[i];
      const n = Math.min(opener.count, left, 2);
      if (run[0] === "~" && n < 2) break;
      const inner = this.nodes.splice(opener.at + 1);
      this.openers.length = i + 1;
      opener.count -= n;
      left -= n;
      this.nodes[opener.at] = run[0].repeat(opener.count);
      if (!opener.count) {
        this.openers.pop();
        this.nodes.pop();
      }
      this.nodes.push(element(run[0] === "~" ? "del" : TAGS[n], {}, ...inner));
    }
    if (left && opens) this.open(run[0].repeat(left), left, run[0]);
    else if (left) this.write(run[0].repeat(left));
  }
}
