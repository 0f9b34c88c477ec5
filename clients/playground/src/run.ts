import { useEffect, useRef, useState } from 'preact/hooks'
import { formOf, isRecord, request, streamed, type Fields, type TaskCard } from './api'
import { failureOf, type Failure } from './failures'

export type Item = Record<string, unknown>
export type Result = Record<string, unknown> & { warnings?: { code: string; item?: unknown; action: string }[] }

/** One request to a task and what came of it. */
export interface Run {
  state: 'idle' | 'sending' | 'streaming' | 'done' | 'stopped' | 'failed'
  /** What was read so far, as it was sent. */
  items: Item[]
  /** Parts that failed while others did not. */
  failed: Item[]
  result?: Result
  failure?: Failure
  /** The fields that were sent. */
  sent: Fields
  requestId?: string
  startedMs: number
  firstMs?: number
  endedMs?: number
}

export const IDLE: Run = { state: 'idle', items: [], failed: [], sent: {}, startedMs: 0 }

export interface Runner {
  run: Run
  busy: boolean
  start(task: TaskCard, fields: Fields): void
  stop(): void
  clear(): void
}

/**
 * Runs one request at a time. What a stream brings is drawn once a frame, however many items come in it, so that an
 * answer that arrives at once costs no more than one drawn slowly.
 */
export function useRun(): Runner {
  const [run, draw] = useState<Run>(IDLE)
  const now = useRef<{ run: Run; abort?: AbortController; frame: number }>({ run: IDLE, frame: 0 })

  function change(changes: Partial<Run>): void {
    now.current.run = { ...now.current.run, ...changes }
    now.current.frame ||= requestAnimationFrame(() => {
      now.current.frame = 0
      draw(now.current.run)
    })
  }

  async function ask(task: TaskCard, fields: Fields, abort: AbortController): Promise<void> {
    const mine = () => now.current.abort === abort
    try {
      const body = formOf({ ...fields, stream: true })
      const response = await request(task.path, { method: 'POST', body, signal: abort.signal })
      const requestId = response.headers.get('x-request-id')
      change({ state: 'streaming', ...(requestId && { requestId }) })
      for await (const event of streamed(response)) {
        if (!mine()) return
        const data = JSON.parse(event.data) as Item
        const { items, failed, firstMs } = now.current.run
        if (event.kind === 'item') change({ items: [...items, data], firstMs: firstMs ?? performance.now() })
        else if (event.kind === 'failed') change({ failed: [...failed, data] })
        else if (event.kind === 'restart') change({ items: items.filter((item) => item.page !== data.page) })
        else if (event.kind === 'result' && isRecord(data)) change({ result: data as Result })
      }
      change({ state: 'done', endedMs: performance.now() })
    } catch (thrown) {
      if (!mine()) return
      if (abort.signal.aborted) change({ state: 'stopped', endedMs: performance.now() })
      else change({ state: 'failed', failure: failureOf(thrown), endedMs: performance.now() })
    }
  }

  function drop(): void {
    const { abort } = now.current
    delete now.current.abort
    abort?.abort()
  }

  useEffect(() => drop, [])
  return {
    run,
    busy: run.state === 'sending' || run.state === 'streaming',
    start(task, fields) {
      drop()
      const abort = new AbortController()
      now.current.abort = abort
      now.current.run = { ...IDLE, state: 'sending', sent: fields, startedMs: performance.now() }
      change({})
      void ask(task, fields, abort)
    },
    stop: () => now.current.abort?.abort(),
    clear() {
      drop()
      now.current.run = IDLE
      change({})
    },
  }
}
