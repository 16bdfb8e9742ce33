// The blocks of a Markdown text, as plain objects: paragraphs, headings, code, lists, quotes, tables, rules.
// Time grows with the length of the text: each level of nesting reads its lines once, and there are few levels.

const DEPTH_MAX = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+|$)/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}|$)/;
const DELIMITERS = /^\|?:?-+:?(?:\|:?-+:?)*\|?$/; // without its spaces

// The blocks of some lines. Each has `line`, the index of its first one.
export function blocks(lines, depth = 0) {
  const found = [];
  let i = 0;
  while (i < lines.length) {
    if (!lines[i].trim()) {
      i += 1;
      continue;
    }
    const [block, end] = next(lines, i, depth);
    found.push({ ...block, line: i });
    i = end;
  }
  return found;
}

// The block that begins at line i, and the index of the line after it.
function next(lines, i, depth) {
  const line = lines[i];
  const isDeep = depth >= DEPTH_MAX;
  if (FENCE.test(line)) return code(lines, i);
  if (HEADING.test(line)) return [heading(line), i + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, i + 1];
  if (QUOTE.test(line) && !isDeep) return quote(lines, i, depth);
  if (ITEM.test(line) && !isDeep) return list(lines, i, depth);
  if (isTable(lines, i)) return table(lines, i);
  return paragraph(lines, i);
}

function isTable(lines, i) {
  const below = lines[i + 1];
  if (below === undefined || !lines[i].includes("|") || !DELIMITERS.test(below.replace(/ /g, ""))) return false;
  return cells(lines[i]).length === cells(below).length;
}

function begins(lines, i) {
  const line = lines[i];
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line)) || isTable(lines, i);
}

function code(lines, i) {
  const [, fence, info] = FENCE.exec(lines[i]);
  const indent = lines[i].search(/\S/);
  const inner = [];
  let end = i + 1;
  for (; end < lines.length; end += 1) {
    const close = FENCE.exec(lines[end]);
    if (close && !close[2].trim() && close[1][0] === fence[0] && close[1].length >= fence.length) break;
    inner.push(withoutIndent(lines[end], indent));
  }
  return [{ kind: "code", language: info.trim().split(/\s/)[0].slice(0, 40), text: inner.join("\n") }, end + 1];
}

function heading(line) {
  const [mark, signs] = HEADING.exec(line);
  let text = line.slice(mark.length).trim();
  let n = text.length;
  while (n && text[n - 1] === "#") n -= 1;
  if (n < text.length && (!n || text[n - 1] === " ")) text = text.slice(0, n).trim();
  return { kind: "heading", level: signs.length, text };
}

function quote(lines, i, depth) {
  const inner = [];
  while (i < lines.length && QUOTE.test(lines[i])) inner.push(lines[i++].replace(QUOTE, ""));
  return [{ kind: "quote", blocks: blocks(inner, depth + 1) }, i];
}

function list(lines, i, depth) {
  const marker = (line) => {
    const found = ITEM.exec(line);
    return found && !RULE.test(line) ? found : null;
  };
  const [, , first] = marker(lines[i]);
  const isNumbered = /\d/.test(first);
  const kindOf = (mark) => (/\d/.test(mark) ? mark.at(-1) : mark);
  const items = [];
  let isLoose = false;
  while (i < lines.length) {
    const found = marker(lines[i]);
    if (!found || kindOf(found[2]) !== kindOf(first)) break;
    const outer = found[1].length;
    const width = found[0].length + (found[3] ? 0 : 1);
    const inner = [lines[i].slice(found[0].length)];
    let isBlank = false;
    for (i += 1; i < lines.length; i += 1) {
      const line = lines[i];
      if (!line.trim()) {
        isBlank = true;
        inner.push("");
        continue;
      }
      const indent = line.search(/\S/);
      // Models often indent what is inside by two, even under "1. ".
      const isInside = indent >= Math.min(width, outer + 2);
      if (!isInside && (isBlank || begins(lines, i))) break;
      if (isBlank) isLoose = true;
      isBlank = false;
      inner.push(withoutIndent(line, width));
    }
    if (isBlank && i < lines.length && marker(lines[i])) isLoose = true;
    items.push(blocks(inner, depth + 1));
  }
  return [{ kind: "list", isNumbered, start: isNumbered ? parseInt(first, 10) : 1, isLoose, items }, i];
}

function table(lines, i) {
  const head = cells(lines[i]);
  const sides = cells(lines[i + 1]).map((cell) => {
    if (cell.endsWith(":")) return cell.startsWith(":") ? "center" : "right";
    return "left";
  });
  const rows = [];
  for (i += 2; i < lines.length && lines[i].includes("|"); i += 1) {
    const row = cells(lines[i]).slice(0, head.length);
    rows.push([...row, ...Array(head.length - row.length).fill("")]);
  }
  return [{ kind: "table", head, sides, rows }, i];
}

function cells(line) {
  const found = [""];
  for (const part of line.trim().match(/\\\||`[^`]*`|\||[^]/g)) {
    if (part === "|") found.push("");
    else found[found.length - 1] += part === "\\|" ? "|" : part;
  }
  if (line.trim().startsWith("|")) found.shift();
  if (found.length > 1 && !found.at(-1).trim()) found.pop();
  return found.map((cell) => cell.trim());
}

function paragraph(lines, i) {
  const inner = [lines[i++]];
  while (i < lines.length && lines[i].trim() && !begins(lines, i)) inner.push(lines[i++]);
  return [{ kind: "paragraph", text: inner.map((line) => line.trimStart()).join("\n").trimEnd() }, i];
}

function withoutIndent(line, n) {
  let i = 0;
  while (i < n && line[i] === " ") i += 1;
  return line.slice(i);
}
