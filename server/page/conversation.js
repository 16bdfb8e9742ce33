// A conversation: plain data that is stored as JSON.
//
// { id, title, updated, system, messages: [{ role, content }] }; answers have model, reasoning, calls, ending,
// problem and speed, too.

const TITLE_MAX = 60;

export function newConversation(system = "") {
  return { id: newId(), title: "New conversation", updated: Date.now(), system, messages: [] };
}

// crypto.randomUUID is missing where the page came by plain HTTP from another machine.
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function addQuestion(conversation, content) {
  conversation.messages.push({ role: "user", content });
  touch(conversation);
}

export function addAnswer(conversation, model) {
  const outcome = { ending: null, problem: null, speed: null };
  const message = { role: "assistant", model, content: "", reasoning: "", calls: [], ...outcome };
  conversation.messages.push(message);
  return message;
}

// Forgets the message at `index` and all after it.
export function cutAt(conversation, index) {
  conversation.messages.length = index;
  touch(conversation);
}

export function touch(conversation) {
  const first = conversation.messages.find(({ role }) => role === "user");
  if (first) conversation.title = first.content.trim().replace(/\s+/g, " ").slice(0, TITLE_MAX);
  conversation.updated = Date.now();
}

// The messages as the API takes them. Answers without a word, which failed or were stopped, are left out, and
// questions that then follow each other become one: many templates want the two in turn.
export function asked(conversation) {
  const found = conversation.system.trim() ? [{ role: "system", content: conversation.system }] : [];
  for (const { role, content } of conversation.messages) {
    const last = found.at(-1);
    if (role === "assistant" && !content) continue;
    if (last?.role === role) last.content += `\n\n${content}`;
    else found.push({ role, content });
  }
  return found;
}

// Is this, read from the browser's storage, a conversation?
export function isConversation(value) {
  return (
    typeof value?.id === "string" &&
    typeof value.title === "string" &&
    typeof value.updated === "number" &&
    typeof value.system === "string" &&
    Array.isArray(value.messages) &&
    value.messages.every(
      (each) => ["user", "assistant"].includes(each?.role) && typeof each.content === "string",
    )
  );
}
