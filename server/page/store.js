// Conversations and choices, kept in this browser (localStorage).

import { isConversation } from "./conversation.js";

const PREFIX = "nybble.conversation.";
const open = new Map(); // each conversation is one object, however often it is asked for

// All conversations, the newest first. What cannot be read is left where it is.
export function conversations() {
  for (const name of Object.keys(localStorage)) {
    const id = name.slice(PREFIX.length);
    if (!name.startsWith(PREFIX) || open.has(id)) continue;
    const value = readJson(name);
    if (isConversation(value) && value.id === id) open.set(id, value);
  }
  return [...open.values()].sort((a, b) => b.updated - a.updated);
}

// False if the browser has no room left.
export function save(conversation) {
  open.set(conversation.id, conversation);
  return writeJson(PREFIX + conversation.id, conversation);
}

export function remove(conversation) {
  open.delete(conversation.id);
  localStorage.removeItem(PREFIX + conversation.id);
}

// What another tab has done to a conversation: its new state replaces ours, unless `isBusy` says it is in use.
export function onOtherTab(isBusy, changed) {
  addEventListener("storage", ({ key, newValue }) => {
    if (!key?.startsWith(PREFIX)) return;
    const id = key.slice(PREFIX.length);
    if (isBusy(id)) return;
    if (newValue === null) open.delete(id);
    else if (isConversation(readJson(key))) open.set(id, Object.assign(open.get(id) ?? {}, readJson(key)));
    changed(id);
  });
}

export function readChoice(name, otherwise) {
  return readJson(`nybble.${name}`) ?? otherwise;
}

export function writeChoice(name, value) {
  writeJson(`nybble.${name}`, value);
}

function readJson(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

function writeJson(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
