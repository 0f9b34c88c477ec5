// Against a gateway at QWENVL_URL before the mock engine at ENGINE_URL: tests/clients/test_typescript.py starts both.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { QwenVL, QwenVLError } from "../dist/index.js";

const client = new QwenVL({ baseUrl: process.env.QWENVL_URL });
const photo = new Blob([await readFile(process.env.PHOTO)], { type: "image/jpeg" });
const TWO =
  '[{"bbox_2d":[14,28,140,56],"label":"cat"},{"bbox_2d":[200,28,240,56],"label":"dog"}]';

async function says(answer, more = {}) {
  await fetch(`${process.env.ENGINE_URL}/mock/behaviour`, {
    method: "POST",
    body: JSON.stringify({ answer, chunks: 20, ...more }),
  });
}

test("a file gives boxes in its own pixels", async () => {
  await says(TWO);
  const found = await client.run("detect", { image: photo, labels: ["cat", "dog", "cow"] });
  assert.deepEqual(found.objects[0].bbox_2d, [14, 28, 140, 56]);
  assert.deepEqual(found.not_found, ["cow"]);
});

test("a data: URI goes as JSON", async () => {
  await says("Red.");
  const url = `data:image/jpeg;base64,${Buffer.from(await photo.arrayBuffer()).toString("base64")}`;
  assert.equal((await client.run("caption", { image: url, length: "short" })).caption, "Red.");
});

test("items come one by one, then the result", async () => {
  await says(TWO);
  const kinds = [];
  for await (const event of client.stream("detect", { image: photo, labels: ["cat", "dog"] })) {
    kinds.push(event.kind === "item" ? event.item.label : event.kind);
  }
  assert.deepEqual(kinds, ["cat", "dog", "result"]);
});

test("leaving a stream ends the work", async () => {
  await says(TWO, { fault: "stall", after: 14 });
  for await (const event of client.stream("detect", { image: photo })) {
    assert.equal(event.kind, "item");
    break;
  }
  const deadline = Date.now() + 5000;
  for (;;) {
    const aborts = await (await fetch(`${process.env.ENGINE_URL}/mock/aborts`)).json();
    if (aborts.length > 0) break;
    assert.ok(Date.now() < deadline);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});

test("an error names its field", async () => {
  await says(TWO);
  await assert.rejects(client.run("detect", { image: photo, max_tokens: 1e6 }), (error) => {
    assert.ok(error instanceof QwenVLError);
    assert.deepEqual([error.status, error.code, error.param], [400, "limit_exceeded", "max_tokens"]);
    assert.ok(error.requestId);
    return true;
  });
});

test("a stream that fails is an error", async () => {
  await says(TWO, { fault: "die", after: 14 });
  await assert.rejects(async () => {
    for await (const _ of client.stream("detect", { image: photo }));
  }, QwenVLError);
});

test("every path is there, typed", async () => {
  const { data } = await client.api.GET("/v1/tasks");
  assert.ok(data);
});
