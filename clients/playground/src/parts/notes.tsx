import { isRecord } from '../api'
import type { Run } from '../run'
import { title } from '../schema'
import { Icon } from './icons'

const REASONS: Record<string, string> = {
  length: 'The answer was cut off at the token limit; what was complete is shown.',
  repetition: 'The model began to repeat itself and was stopped; what came before is shown.',
}

/** What a reader should know of an answer: how it ended, what was repaired, what it cost. */
export function Notes({ run }: { run: Run }) {
  const { result } = run
  const warnings = result?.warnings ?? []
  const reason = REASONS[String(result?.finish_reason)]
  return (
    <div class="notes">
      {run.state === 'stopped' && <p class="muted">Stopped. What came before is shown.</p>}
      {reason && (
        <p class="problem">
          <Icon name="warning" size={16} /> {reason}
        </p>
      )}
      {warnings.length > 0 && (
        <details>
          <summary>
            {warnings.length} {warnings.length === 1 ? 'note' : 'notes'} on the answer
          </summary>
          <ul class="plain">
            {warnings.map((warning) => (
              <li>
                <strong>{title(warning.code)}</strong>
                {warning.item !== null && warning.item !== undefined && <> · <code>{brief(warning.item)}</code></>}
                <span class="muted"> — {warning.action}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
      {run.endedMs !== undefined && run.state === 'done' && <p class="fine">{cost(run)}</p>}
    </div>
  )
}

const BRIEF = 90
const brief = (item: unknown) => {
  const text = typeof item === 'string' ? item : JSON.stringify(item)
  return text.length > BRIEF ? `${text.slice(0, BRIEF)}…` : text
}

/** "2.41 s · first after 0.32 s · 412 tokens in, 96 out · request 1a2b-3". */
function cost(run: Run): string {
  const seconds = (ms: number) => `${((ms - run.startedMs) / 1000).toFixed(2)} s`
  const usage = run.result?.usage
  const parts = [seconds(run.endedMs!)]
  if (run.firstMs !== undefined) parts.push(`first after ${seconds(run.firstMs)}`)
  if (isRecord(usage)) parts.push(`${usage.prompt_tokens} tokens in, ${usage.completion_tokens} out`)
  if (run.requestId) parts.push(`request ${run.requestId}`)
  return parts.join(' · ')
}
