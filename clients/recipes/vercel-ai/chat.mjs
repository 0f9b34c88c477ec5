// Vercel's AI SDK: a question about a picture, a stream, and an answer that holds to a schema.
//
//   npm install && node chat.mjs photo.jpg
import { readFile } from "node:fs/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, streamText } from "ai";
import { z } from "zod";

const url = process.env.QWENVL_URL ?? "http://127.0.0.1:8000";
const qwen = createOpenAICompatible({
  name: "qwenvl",
  baseURL: `${url}/v1`,
  apiKey: process.env.QWENVL_API_KEY ?? "none",
  supportsStructuredOutputs: true, // else the schema stays here, and the model is only asked for JSON
});
const model = qwen.chatModel("qwen2.5-vl");
const maxOutputTokens = Number(process.argv[3] ?? 128);
const picture = { type: "file", mediaType: "image/jpeg", data: await readFile(process.argv[2]) };
const messages = [{ role: "user", content: [picture, { type: "text", text: "What is in this picture?" }] }];

const { text } = await generateText({ model, messages, maxOutputTokens });
console.log("generateText:", text);

process.stdout.write("streamText: ");
for await (const piece of streamText({ model, messages, maxOutputTokens }).textStream) process.stdout.write(piece);
process.stdout.write("\n");

const schema = z.object({ place: z.enum(["indoors", "outdoors"]), people: z.number().int().min(0).max(99) });
const { output } = await generateText({ model, messages, maxOutputTokens, output: Output.object({ schema }) });
console.log("output:", JSON.stringify(output));
