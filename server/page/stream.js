// Server-sent events, as they come over fetch.

const EVENT_MAX = 1 << 24; // characters: a server that never ends an event shall not fill the memory

// The data of each event of a response, as texts.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (waiting + value.replaceAll("\r", "")).split("\n\n");
      waiting = parts.pop();
      if (waiting.length > EVENT_MAX) throw new Error("The server sends an event without an end.");
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may be broken already
  }
}
