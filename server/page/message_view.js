// A message as it is shown: words, folded reasoning, calls of tools, speed, and what can be done with it.

import { copyButton, element } from "./dom.js";
import { Markdown } from "./markdown.js";

const ENDINGS = { length: "cut at the limit of tokens", stopped: "stopped", failed: "failed" };

export class MessageView {
  // `actions`: { edit(text), again() }, of which `again` may be missing.
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.isUser = message.role === "user";
    this.markdown = new Markdown();
    this.thoughts = element("div");
    this.reasoning = element("details", { class: "reasoning" }, element("summary", {}, "Reasoning"), this.thoughts);
    this.calls = element("div");
    this.problem = element("p", { class: "error" });
    this.speed = element("span", { class: "speed" });
    this.buttons = element("span");
    this.body = element("div", {}, this.reasoning, this.markdown.element, this.calls, this.problem);
    this.foot = element("div", { class: "foot" }, this.buttons, this.speed);
    this.element = element(
      "li",
      { class: "message", "data-role": message.role },
      element("h2", {}, this.isUser ? "You" : message.model || "Model"),
      this.body,
      this.foot,
    );
    const copy = copyButton(() => message.content);
    this.editButton = element("button", { type: "button", click: () => this.edit() }, "Edit");
    const again = actions.again && element("button", { type: "button", click: () => actions.again() }, "Regenerate");
    this.buttons.append(copy, " ", this.editButton, " ", again || "");
    this.update(false);
  }

  // Shows what the message is now.
  update(isRunning) {
    const { content, reasoning = "", calls = [], problem = null } = this.message;
    if (this.isUser) this.markdown.element.textContent = content;
    else this.markdown.show(content);
    this.markdown.element.hidden = !content && !isRunning;
    this.reasoning.hidden = !reasoning;
    this.thoughts.textContent = reasoning;
    this.calls.replaceChildren(...calls.filter(Boolean).map(callNode));
    this.problem.hidden = !problem;
    this.problem.textContent = problem ?? "";
    this.speed.textContent = speedText(this.message);
    this.buttons.hidden = isRunning;
    if (isRunning) this.element.setAttribute("aria-busy", "true");
    else this.element.removeAttribute("aria-busy");
  }

  // Puts a form in the place of the message. Enter saves, Esc leaves it as it was.
  edit() {
    const field = element("textarea", { "aria-label": "Message to edit", rows: "4" });
    field.value = this.message.content;
    const done = (isSaved) => {
      form.replaceWith(this.body);
      this.foot.hidden = false;
      if (isSaved && field.value.trim()) this.actions.edit(field.value);
      else this.editButton.focus();
    };
    const save = this.isUser ? "Save and ask again" : "Save";
    const form = element(
      "form",
      { class: "edit", submit: (event) => { event.preventDefault(); done(true); } },
      field,
      element(
        "div",
        { class: "buttons" },
        element("button", { type: "button", click: () => done(false) }, "Cancel"),
        element("button", { type: "submit" }, save),
      ),
    );
    field.addEventListener("keydown", (event) => {
      if (isSend(event)) {
        event.preventDefault();
        done(true);
      } else if (event.key === "Escape") {
        event.stopPropagation();
        done(false);
      }
    });
    this.body.replaceWith(form);
    this.foot.hidden = true;
    field.focus();
  }
}

// Enter, with Ctrl or Cmd or without, but not Shift, and not where it ends the input of a Chinese word.
export function isSend(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing;
}

function callNode({ name, arguments: text }) {
  const bar = element("div", { class: "bar" }, element("span", {}, `Call of the tool ${name}`));
  return element("div", { class: "code" }, bar, element("pre", {}, element("code", {}, text)));
}

function speedText({ speed, ending }) {
  const parts = ENDINGS[ending] ? [ENDINGS[ending]] : [];
  if (speed) {
    const about = speed.isExact ? "" : "about ";
    parts.push(`${about}${speed.tokens} tokens`);
    // The first one belongs to the prompt's time. What came at once has no speed.
    if (speed.tokens > 1 && speed.seconds > 0.05) parts.push(`${rounded((speed.tokens - 1) / speed.seconds)} tokens/s`);
    parts.push(`first after ${speed.wait.toFixed(2)} s`);
  }
  return parts.join(" · ");
}

function rounded(rate) {
  return rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}
