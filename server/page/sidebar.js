// The list of conversations, and on a narrow screen the button that shows it.

import { byId, element } from "./dom.js";

export class Sidebar {
  // `actions`: { open(conversation), remove(conversation) }.
  constructor(actions) {
    this.actions = actions;
    this.list = byId("conversations");
    this.button = byId("show-sidebar");
    this.button.addEventListener("click", () => this.show(!this.isShown));
    document.addEventListener("pointerdown", (event) => {
      if (this.isShown && !byId("sidebar").contains(event.target) && event.target !== this.button) this.show(false);
    });
  }

  get isShown() {
    return byId("sidebar").classList.contains("shown");
  }

  // Narrow screens only: it covers the messages until something is chosen.
  show(isShown) {
    byId("sidebar").classList.toggle("shown", isShown);
    this.button.setAttribute("aria-expanded", String(isShown));
    if (isShown) byId("new-conversation").focus();
  }

  update(conversations, current) {
    this.list.replaceChildren(...conversations.map((each) => this.item(each, each === current)));
  }

  item(conversation, isCurrent) {
    const { title } = conversation;
    const open = () => {
      this.show(false);
      this.actions.open(conversation);
    };
    const remove = () => this.actions.remove(conversation);
    return element(
      "li",
      {},
      element(
        "button",
        { type: "button", class: "open", "aria-current": isCurrent && "true", title, click: open },
        title,
      ),
      element(
        "button",
        { type: "button", class: "delete", "aria-label": `Delete ${title}`, title: "Delete", click: remove },
        "✕",
      ),
    );
  }
}
