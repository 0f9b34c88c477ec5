import { address, getJson, type ModelCard, type TaskCard } from './api'
import { failureOf, type Failure } from './failures'
import { store } from './store'
import { canSize } from './views/fit'

/** What the server says of itself. */
export const tasks = store<TaskCard[]>([])
export const models = store<ModelCard[]>([])
/** Whether the server has `GET /v1/fit`. */
export const sizes = store(false)
export const unreachable = store<Failure | undefined>(undefined)
export const loaded = store(false)

export interface Readiness {
  state: 'unknown' | 'ready' | 'starting' | 'away'
  reason: string
}
export const readiness = store<Readiness>({ state: 'unknown', reason: 'Looking for the engine' })

/** Asks for tasks, models and what fits; called again when a key was entered. */
export async function load(): Promise<void> {
  void look()
  try {
    const [listed, cards] = await Promise.all([
      getJson<{ data: TaskCard[] }>('/v1/tasks'),
      getJson<{ data: ModelCard[] }>('/v1/models'),
    ])
    tasks.set(listed.data)
    models.set(cards.data)
    unreachable.set(undefined)
    loaded.set(true)
  } catch (thrown) {
    unreachable.set(failureOf(thrown))
    return
  }
  await describe()
}

/** Adds what `GET /v1/models/{id}` knows beyond the list, and looks whether sizing can be asked. Either may be missing. */
async function describe(): Promise<void> {
  const found = await Promise.all(
    models.get().map((card) => getJson<ModelCard>(`/v1/models/${encodeURI(card.id)}`).catch(() => card)),
  )
  models.set(found)
  sizes.set(await canSize())
}

const READY_POLL_MS = 30_000
const STARTING_POLL_MS = 3_000
let timer = 0

/** Looks whether an engine takes requests, now and from time to time. */
async function look(): Promise<void> {
  window.clearTimeout(timer)
  const before = readiness.get().state
  readiness.set(await seen())
  const { state } = readiness.get()
  if (before !== 'unknown' && before !== 'ready' && state === 'ready') {
    void load()
  }
  timer = window.setTimeout(look, state === 'ready' ? READY_POLL_MS : STARTING_POLL_MS)
}

async function seen(): Promise<Readiness> {
  try {
    const response = await fetch(address('/readyz'))
    if (response.ok) return { state: 'ready', reason: 'Ready' }
    const body = (await response.json()) as { error?: { message?: string } }
    return { state: 'starting', reason: body.error?.message ?? 'No engine is ready yet' }
  } catch {
    return { state: 'away', reason: 'The server cannot be reached' }
  }
}
