/** Server-sent events out of a body, however its bytes are cut. */
export async function* events(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<{ kind: string; data: Record<string, unknown> }, void, undefined> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        let kind = "message";
        let data = "";
        for (const line of block.split("\n")) {
          if (line.startsWith("event:")) kind = line.slice(6).trim();
          else if (line.startsWith("data:")) data += line.slice(5).trim();
        }
        if (data === "[DONE]") return;
        if (data !== "") yield { kind, data: JSON.parse(data) as Record<string, unknown> };
      }
    }
  } finally {
    await reader.cancel(); // the server stops its work
  }
}
