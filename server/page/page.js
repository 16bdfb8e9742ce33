// The page: a conversation with the model, and everything around it.

import { models } from "./api.js";
import { addAnswer, addQuestion, asked, cutAt, newConversation, touch } from "./conversation.js";
import { announce, byId, element } from "./dom.js";
import { askKey, setUpKeyDialog } from "./key_dialog.js";
import { MessageView, isSend } from "./message_view.js";
import { Run } from "./run.js";
import { Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { conversations, onOtherTab, readChoice, remove, save, writeChoice } from "./store.js";

const ANNOUNCED_MAX = 2000; // characters of an answer that are said to a screen reader

const settings = new Settings(byId("samplers"));
const sidebar = new Sidebar({ open: show, remove: removeConversation });
const runs = new Map(); // answers on their way, by their conversation
let current = newConversation();
let views = [];

// Models, and keys

// Does what may need a key; asks for one as often as the server wants another.
async function withKey(action) {
  for (let reason = ""; ; reason = "The server does not know this key. Try another one.") {
    try {
      return await action();
    } catch (error) {
      if (error.status !== 401 || !(await askKey(reason))) throw error;
    }
  }
}

async function loadModels() {
  try {
    const found = await withKey(models);
    const options = found.map(({ id, meta }) => {
      const why = meta?.can_generate === false ? " (no texts)" : meta?.has_chat_template === false ? " (no chat)" : "";
      return element("option", { value: id, disabled: why !== "" }, id + why);
    });
    const chosen = readChoice("model", "");
    byId("model").replaceChildren(...options);
    if (options.some((option) => option.value === chosen && !option.disabled)) byId("model").value = chosen;
    const none = "No model here has a chat template. Start the server with --chat-template FILE.";
    showProblem(options.every((option) => option.disabled) ? none : "");
  } catch (error) {
    showProblem(`${error.message} `, element("button", { type: "button", click: loadModels }, "Try again"));
  }
}

function showProblem(text, ...more) {
  byId("problem").replaceChildren(text, ...more);
  byId("problem").hidden = !text;
}

// Conversations

function show(conversation) {
  current = conversation;
  views = current.messages.map((message, i) => viewOf(message, i));
  byId("message-list").replaceChildren(...views.map((view) => view.element));
  byId("system").value = current.system;
  refresh();
  byId("messages").scrollTop = byId("messages").scrollHeight;
  byId("prompt").focus();
}

function viewOf(message, index) {
  const conversation = current;
  const isAnswer = message.role === "assistant";
  const view = new MessageView(message, {
    again: isAnswer && (() => {
      stop(conversation);
      cutAt(conversation, index);
      ask(conversation);
    }),
    edit: (text) => {
      stop(conversation);
      if (isAnswer) {
        message.content = text;
        keep(conversation);
        show(conversation);
      } else {
        cutAt(conversation, index);
        addQuestion(conversation, text);
        ask(conversation);
      }
    },
  });
  view.update(runs.get(conversation)?.message === message);
  return view;
}

function keep(conversation) {
  touch(conversation);
  if (!save(conversation)) {
    showProblem("This browser has no room for more. Export and delete conversations: what is new is lost otherwise.");
  }
}

function removeConversation(conversation) {
  if (!confirm(`Delete “${conversation.title}”? It cannot be brought back.`)) return;
  stop(conversation);
  cutAt(conversation, 0); // so that an answer on its way does not save it again
  remove(conversation);
  if (conversation === current) show(newConversation(current.system));
  else refresh();
  byId("new-conversation").focus();
}

function refresh() {
  const isRunning = runs.has(current);
  sidebar.update(conversations(), current);
  byId("empty").hidden = current.messages.length > 0;
  byId("send").hidden = isRunning;
  byId("stop").hidden = !isRunning;
  byId("export").disabled = !current.messages.length;
  document.title = current.messages.length ? `${current.title} – nybble` : "nybble";
}

function exportCurrent() {
  const blob = new Blob([JSON.stringify(current, null, 2)], { type: "application/json" });
  const address = URL.createObjectURL(blob);
  const name = current.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
  element("a", { href: address, download: `${name || "conversation"}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// Answers

async function ask(conversation) {
  const body = { model: byId("model").value || undefined, messages: asked(conversation), ...settings.values() };
  const message = addAnswer(conversation, body.model);
  const run = new Run(message, () => update(conversation, message));
  runs.set(conversation, run);
  keep(conversation);
  if (conversation === current) show(conversation);
  announce("The model answers.");
  try {
    await withKey(() => run.go(body));
  } catch (error) {
    message.ending = "failed";
    message.problem = error.message;
  }
  if (runs.get(conversation) === run) runs.delete(conversation);
  if (!conversation.messages.includes(message)) return; // it was regenerated or edited away
  keep(conversation);
  if (conversation !== current) return refresh();
  paint(message);
  refresh();
  announce(message.problem ?? (message.content.slice(0, ANNOUNCED_MAX) || "There was no answer."));
}

function stop(conversation) {
  runs.get(conversation)?.stop();
  runs.delete(conversation);
}

let isPainting = false;

// Shows what has come, once a frame.
function update(conversation, message) {
  if (conversation !== current || isPainting) return;
  isPainting = true;
  requestAnimationFrame(() => {
    isPainting = false;
    paint(message);
  });
}

// Shows the message; who reads its end stays there.
function paint(message) {
  const place = byId("messages");
  const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 60;
  views.find((view) => view.message === message)?.update(runs.get(current)?.message === message);
  if (isAtEnd) place.scrollTop = place.scrollHeight;
}

// Events

function send() {
  const field = byId("prompt");
  if (!field.value.trim() || runs.has(current)) return;
  addQuestion(current, field.value);
  field.value = "";
  fit(field);
  ask(current);
}

function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

function stopCurrent() {
  runs.get(current)?.stop();
  byId("prompt").focus();
}

function setUp() {
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  byId("prompt").addEventListener("keydown", (event) => {
    if (!isSend(event)) return;
    event.preventDefault();
    send();
  });
  byId("prompt").addEventListener("input", (event) => fit(event.target));
  byId("stop").addEventListener("click", stopCurrent);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (sidebar.isShown) sidebar.show(false);
    else if (runs.has(current)) stopCurrent();
  });
  byId("new-conversation").addEventListener("click", () => {
    sidebar.show(false);
    show(newConversation(current.system));
  });
  byId("export").addEventListener("click", exportCurrent);
  byId("open-settings").addEventListener("click", () => byId("settings").showModal());
  byId("reset-settings").addEventListener("click", () => settings.clear());
  byId("system").addEventListener("input", (event) => {
    current.system = event.target.value;
  });
  byId("settings").addEventListener("close", () => {
    if (current.messages.length) keep(current);
  });
  byId("model").addEventListener("change", (event) => writeChoice("model", event.target.value));
  byId("theme").value = readChoice("theme", "system");
  byId("theme").addEventListener("change", (event) => {
    writeChoice("theme", event.target.value);
    applyTheme();
  });
  addEventListener("pagehide", () => runs.forEach((run, conversation) => save(conversation)));
  onOtherTab((id) => [...runs.keys()].some((each) => each.id === id), (id) => (id === current.id ? show(current) : refresh()));
}

function applyTheme() {
  document.documentElement.dataset.theme = byId("theme").value;
}

setUp();
setUpKeyDialog();
applyTheme();
show(conversations()[0] ?? current);
loadModels();
