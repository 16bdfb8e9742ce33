// Makes and finds elements. Texts become text nodes, so nothing that a model says is ever read as HTML.

export function byId(id) {
  return document.getElementById(id);
}

// An element; `attributes` whose value is null or false are left out, functions listen to the event of their name.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// A button that copies what `text()` gives and says so; nothing where the browser does not allow it (plain
// HTTP from another machine).
export function copyButton(text) {
  if (!navigator.clipboard) return "";
  const button = element("button", { type: "button", click: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  return button;
}

// Says something to people who listen to a screen reader.
export function announce(text) {
  byId("status").textContent = text;
}
