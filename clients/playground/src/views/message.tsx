import type { Attached, Message } from '../conversation'
import { size } from '../files'
import { Markdown } from '../markdown'
import { Copy } from '../parts/copy'

export function MessageView({ message }: { message: Message }) {
  const { role, text, attached, state, cost, seen } = message
  const mine = role === 'user'
  return (
    <article class={`message ${role}`} aria-label={mine ? 'You' : 'Model'} data-state={state}>
      {attached.length > 0 && (
        <div class="attached">
          {attached.map((each) => (
            <Preview key={each.url} attached={each} large />
          ))}
        </div>
      )}
      {mine ? text && <p class="plain-text">{text}</p> : <Markdown text={text} />}
      {state === 'waiting' && (
        <div class="waiting" aria-hidden="true">
          <i />
          <i />
          <i />
        </div>
      )}
      {!mine && state !== 'waiting' && state !== 'streaming' && (
        <p class="fine">
          {state === 'stopped' && <span>Stopped</span>}
          {cost && <span>{cost}</span>}
          {seen && <span>seen at {seen.replaceAll(',', ', ')}</span>}
          {text && <Copy text={text} what="answer" small />}
        </p>
      )}
    </article>
  )
}

export function Preview({ attached, large = false }: { attached: Attached; large?: boolean }) {
  const { file, kind, url } = attached
  if (kind === 'video') {
    return <video class="preview" src={url} controls={large} muted playsInline preload="auto" aria-label={file.name} />
  }
  return <img class="preview" src={url} alt={file.name} title={`${file.name}, ${size(file.size)}`} />
}
