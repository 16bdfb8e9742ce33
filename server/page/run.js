// One answer on its way: what comes goes into its message, with the time that it takes.

import { answer } from "./api.js";

export class Run {
  // `changed()` is called when something has come. `message` is the answer's message of a conversation.
  constructor(message, changed) {
    this.message = message;
    this.changed = changed;
    this.controller = new AbortController();
  }

  // Returns when the answer is complete, stopped or failed. Raises an `ApiError` of status 401 only.
  async go(body) {
    const { message } = this;
    const began = performance.now();
    let first = null;
    let n = 0; // pieces, of at least a token each
    let usage = null;
    try {
      for await (const piece of answer(body, this.controller.signal)) {
        message.content += piece.content;
        message.reasoning += piece.reasoning;
        piece.calls.forEach((call) => this.addCall(call));
        message.ending = piece.ending ?? message.ending;
        usage = piece.usage ?? usage;
        if (piece.content || piece.reasoning || piece.calls.length) {
          first ??= performance.now();
          n += 1;
          message.speed = speed(n, null, began, first);
        }
        this.changed();
      }
    } catch (error) {
      if (error.name === "AbortError") message.ending = "stopped";
      else if (error.status === 401) throw error;
      else {
        message.ending = "failed";
        message.problem = error.message;
      }
    }
    if (first !== null) message.speed = speed(n, usage, began, first);
  }

  stop() {
    this.controller.abort();
  }

  addCall({ index, function: { name = "", arguments: more = "" } }) {
    const call = (this.message.calls[index] ??= { name: "", arguments: "" });
    call.name += name;
    call.arguments += more;
  }
}

// Counts and times in seconds. Without `usage`, while it runs or when it was stopped, tokens are counted by pieces.
function speed(n, usage, began, first) {
  return {
    tokens: usage?.completion_tokens ?? n,
    isExact: usage !== null,
    wait: (first - began) / 1000,
    seconds: (performance.now() - first) / 1000,
    prompt: usage?.prompt_tokens ?? null,
  };
}
