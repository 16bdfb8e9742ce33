// The server's API: models and answers. The key lives as long as the tab.

import { events } from "./stream.js";

const KEY = "nybble.key";

class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

// The models that are served, as /v1/models lists them.
export async function models() {
  return (await (await request("/v1/models")).json()).data;
}

// The pieces of an answer, `{ content, reasoning, calls, ending, usage }`; the last two are null until the end.
export async function* answer(body, signal) {
  const asked = { ...body, stream: true, stream_options: { include_usage: true } };
  const response = await request("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(asked),
    signal,
  });
  try {
    for await (const data of events(response)) {
      if (data === "[DONE]") return;
      yield piece(JSON.parse(data));
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiError) throw error;
  }
  throw new ApiError(0, "The connection was cut before the answer was complete.");
}

function piece({ choices, usage = null, error }) {
  if (error) throw new ApiError(500, error.message);
  const [{ delta = {}, finish_reason: ending = null } = {}] = choices;
  return {
    content: delta.content ?? "",
    reasoning: delta.reasoning_content ?? "",
    calls: delta.tool_calls ?? [],
    ending,
    usage,
  };
}

async function request(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (!response.ok) throw new ApiError(response.status, await problem(response));
  return response;
}

async function problem(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answers with status ${response.status}.`;
  }
}
