import { failureFrom, RequestFailed } from './failures'
import { events, type ServerEvent } from './sse'
import { store } from './store'

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type Fields = Record<string, unknown>

/** A property of a JSON Schema, as pydantic writes them. */
export interface Property {
  type?: string
  title?: string
  description?: string
  default?: unknown
  enum?: unknown[]
  const?: unknown
  items?: Property
  anyOf?: Property[]
  allOf?: Property[]
  $ref?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  maxLength?: number
  properties?: Record<string, Property>
}

/** A task as `GET /v1/tasks` describes it. */
export interface TaskCard {
  id: string
  path: string
  summary: string
  inputs: Record<string, 'image' | 'document' | 'video'>
  result_object: string
  request_schema: { properties: Record<string, Property>; required?: string[]; $defs?: Record<string, Property> }
  result_schema: { properties: Record<string, Property> }
  limits: Record<string, number>
}

export type ModelCard = Record<string, Json> & { id: string }

/** The key that the server asked for; kept for this browser tab alone. */
export const apiKey = store(sessionStorage.getItem('key') ?? '')
/** Whether the server refused the last request for want of a key. */
export const keyWanted = store(false)

export function setKey(key: string): void {
  sessionStorage.setItem('key', key)
  apiKey.set(key)
  keyWanted.set(false)
}

/** A path of the server as an address, also where a proxy serves it all under a path of its own. */
export const address = (path: string) => new URL(path.replace(/^\//, ''), document.baseURI).href

/** An answer with a good status. Throws RequestFailed, or TypeError when there is none. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  if (apiKey.get()) headers.set('authorization', `Bearer ${apiKey.get()}`)
  const response = await fetch(address(path), { ...init, headers })
  if (response.ok) return response
  if (response.status === 401) keyWanted.set(true)
  throw new RequestFailed(await refusal(response))
}

async function refusal(response: Response) {
  const requestId = response.headers.get('x-request-id') ?? undefined
  const body: unknown = await response.json().catch(() => undefined)
  const error = isRecord(body) && isRecord(body.error) ? body.error : {}
  const waitS = Number(response.headers.get('retry-after'))
  return failureFrom(error, response.status, requestId, waitS)
}

export async function getJson<T>(path: string): Promise<T> {
  return (await (await request(path)).json()) as T
}

/** The events of an answer up to `[DONE]`. A failure after the first byte is thrown as RequestFailed too. */
export async function* streamed(response: Response): AsyncGenerator<ServerEvent> {
  const requestId = response.headers.get('x-request-id') ?? undefined
  if (!response.body) return
  for await (const event of events(response.body)) {
    if (event.data === '[DONE]') return
    if (event.kind === 'message' && event.data.startsWith('{"error"')) {
      const { error } = JSON.parse(event.data) as { error: Record<string, unknown> }
      throw new RequestFailed(failureFrom(error, undefined, requestId))
    }
    yield event
  }
  throw new RequestFailed({
    title: 'The answer broke off',
    message: 'The connection ended before the answer did.',
    ...(requestId && { requestId }),
  })
}

/** A task's request as a form: files as they are, lists as fields of one name, objects as JSON. */
export function formOf(fields: Fields): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each === undefined || each === null || each === '') continue
      if (each instanceof File) form.append(name, each, each.name)
      else form.append(name, typeof each === 'object' ? JSON.stringify(each) : String(each))
    }
  }
  return form
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
