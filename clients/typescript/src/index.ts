/** Client of a Qwen2.5-VL server: tasks, streams of their items, and `api` for every path there is. */
import createFetchClient, { type Client as FetchClient } from "openapi-fetch";
import { events } from "./events.js";
import type {
  ActResult,
  CaptionResult,
  DetectResult,
  DocumentPage,
  DocumentResult,
  Event,
  ExtractResult,
  FoundObject,
  Line,
  LocalizeEventsResult,
  paths,
  ReadTextResult,
} from "./schema.js";

export type * from "./schema.js";

type Body<Path extends keyof paths> = paths[Path] extends {
  post: { requestBody: { content: { "application/json": infer Fields } } };
}
  ? Fields
  : never;

/** Fields that hold media also take files. */
type MediaName = "image" | "document" | "video" | "screenshot";
type WithFiles<Fields> = {
  [Name in keyof Fields]: Name extends MediaName ? Fields[Name] | Blob | readonly Blob[] : Fields[Name];
};
type Given<Path extends keyof paths> = Omit<WithFiles<Body<Path>>, "stream">;

/** What each task takes, gives, and streams. */
export interface Tasks {
  detect: { fields: Given<"/v1/detect">; result: DetectResult; item: FoundObject };
  "parse-document": { fields: Given<"/v1/parse-document">; result: DocumentResult; item: DocumentPage };
  "localize-events": { fields: Given<"/v1/localize-events">; result: LocalizeEventsResult; item: Event };
  "read-text": { fields: Given<"/v1/read-text">; result: ReadTextResult; item: Line | { delta: string } };
  caption: { fields: Given<"/v1/caption">; result: CaptionResult; item: { delta: string } };
  extract: { fields: Given<"/v1/extract">; result: ExtractResult; item: { data: Record<string, unknown> } };
  act: { fields: Given<"/v1/act">; result: ActResult; item: { action: Record<string, unknown> } };
}
export type TaskName = keyof Tasks;

/** What a stream tells: items as each is known, `restart` and `failed` where they happen, then the result. */
export type StreamEvent<Name extends TaskName> =
  | { kind: "item"; item: Tasks[Name]["item"] }
  | { kind: "restart" | "failed"; data: Record<string, unknown> }
  | { kind: "result"; result: Tasks[Name]["result"] };

export interface Options {
  /** Where the server is; http://127.0.0.1:8000 if left out. */
  baseUrl?: string;
  apiKey?: string;
  fetch?: (request: Request) => Promise<Response>;
}

/** The server refused or failed. `code` is a word, `param` the field at fault, `requestId` what its log knows. */
export class QwenVLError extends Error {
  override name = "QwenVLError";
  readonly code: string | undefined;
  readonly param: string | undefined;

  constructor(
    readonly status: number,
    readonly error: Record<string, unknown>,
    readonly requestId: string | null,
  ) {
    super(String(error["message"] ?? `the server answered ${status}`));
    this.code = error["code"] as string | undefined;
    this.param = error["param"] as string | undefined;
  }
}

export class QwenVL {
  /** Every path of the OpenAPI, typed: `client.api.GET("/v1/models")`. */
  readonly api: FetchClient<paths>;
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #fetch: (request: Request) => Promise<Response>;

  constructor(options: Options = {}) {
    this.#url = (options.baseUrl ?? "http://127.0.0.1:8000").replace(/\/+$/, "").replace(/\/v1$/, "");
    this.#headers = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
    this.#fetch = options.fetch ?? ((request) => globalThis.fetch(request));
    this.api = createFetchClient<paths>({ baseUrl: this.#url, headers: this.#headers, fetch: this.#fetch });
  }

  /** A task's result. Files (`Blob`, `File`) are sent as they are; strings are URLs or `data:` URIs. */
  async run<Name extends TaskName>(
    task: Name,
    fields: Tasks[Name]["fields"],
    signal?: AbortSignal,
  ): Promise<Tasks[Name]["result"]> {
    const response = await this.#sent(task, fields, signal);
    return (await response.json()) as Tasks[Name]["result"];
  }

  /** A task's items as each is known, then its result. Leaving the loop ends the work on the server. */
  async *stream<Name extends TaskName>(
    task: Name,
    fields: Tasks[Name]["fields"],
    signal?: AbortSignal,
  ): AsyncGenerator<StreamEvent<Name>, void, undefined> {
    const response = await this.#sent(task, { ...fields, stream: true }, signal);
    for await (const { kind, data } of events(response.body!)) {
      if (kind === "item") yield { kind, item: data as Tasks[Name]["item"] };
      else if (kind === "result") yield { kind, result: data as Tasks[Name]["result"] };
      else if (kind === "restart" || kind === "failed") yield { kind, data };
      else if ("error" in data) {
        throw new QwenVLError(200, data["error"] as Record<string, unknown>, response.headers.get("x-request-id"));
      }
    }
  }

  async #sent(task: TaskName, fields: object, signal: AbortSignal | undefined): Promise<Response> {
    const body = bodyOf(fields);
    const headers: Record<string, string> = { ...this.#headers };
    if (typeof body === "string") headers["content-type"] = "application/json";
    const request = new Request(`${this.#url}/v1/${task}`, { method: "POST", headers, body, signal: signal ?? null });
    const response = await this.#fetch(request);
    if (!response.ok) throw await failure(response);
    return response;
  }
}

/** A form where there are files to send, else JSON. */
function bodyOf(fields: object): string | FormData {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  const isFile = (value: unknown): boolean => value instanceof Blob || (Array.isArray(value) && value.some(isFile));
  if (!entries.some(([, value]) => isFile(value))) return JSON.stringify(Object.fromEntries(entries));
  const form = new FormData();
  for (const [name, value] of entries) {
    if (isFile(value)) for (const file of [value].flat()) form.append(name, file as Blob);
    else form.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return form;
}

async function failure(response: Response): Promise<QwenVLError> {
  const text = await response.text();
  let error: Record<string, unknown> = { message: `the server answered ${response.status}: ${text.slice(0, 200)}` };
  try {
    error = (JSON.parse(text) as { error: Record<string, unknown> }).error ?? error;
  } catch {
    // of a proxy on the way
  }
  return new QwenVLError(response.status, error, response.headers.get("x-request-id"));
}
