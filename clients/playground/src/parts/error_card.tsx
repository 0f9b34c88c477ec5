import type { Failure } from '../failures'
import { Copy } from './copy'
import { Icon } from './icons'

/** A failure in words, with what helps its reader and whoever is asked for help. */
export function ErrorCard({ failure, again }: { failure: Failure; again?: () => void }) {
  return (
    <div class="card error" role="alert">
      <Icon name="warning" />
      <div class="grow">
        <h3>{failure.title}</h3>
        <p>{failure.message}</p>
        {failure.advice && <p class="muted">{failure.advice}</p>}
        {failure.raw !== undefined && (
          <details>
            <summary>What the model wrote</summary>
            <pre class="raw" tabIndex={0}>
              {failure.raw || '(nothing)'}
            </pre>
          </details>
        )}
        <p class="fine">
          {failure.status && <span>Status {failure.status}</span>}
          {failure.code && <code>{failure.code}</code>}
          {failure.param && (
            <span>
              field <code>{failure.param}</code>
            </span>
          )}
          {failure.requestId && (
            <span>
              Request <code>{failure.requestId}</code> <Copy text={failure.requestId} what="request id" small />
            </span>
          )}
        </p>
        {again && (
          <button type="button" class="quiet" onClick={again}>
            <Icon name="again" size={16} /> Try again
          </button>
        )}
      </div>
    </div>
  )
}
