import { useEffect, useRef, useState } from 'preact/hooks'
import { isRecord, request, streamed } from '../api'
import { chatCode, type Placeholder } from '../code'
import { bodyOf, costOf, KINDS, read, typeOf, type Attached, type Message, type Options } from '../conversation'
import { failureOf, type Failure } from '../failures'
import { accept, kindOf, useDropped } from '../files'
import { announce } from '../parts/announce'
import { Camera, hasCamera } from '../parts/camera'
import { CodeButton } from '../parts/code_dialog'
import { ErrorCard } from '../parts/error_card'
import { Icon } from '../parts/icons'
import { fileOf, samplesFor, type Sample } from '../samples'
import { models } from '../server'
import { MessageView, Preview } from './message'
import { useStuckToEnd } from './stuck'

/** A conversation with pictures and clips. */
export function Chat({ active }: { active: boolean }) {
  const [messages, setMessages] = useState<Message[]>([])
  const [attached, setAttached] = useState<Attached[]>([])
  const [text, setText] = useState('')
  const [options, setOptions] = useState<Options>({ model: '', system: '', temperature: '', maxTokens: '' })
  const [failure, setFailure] = useState<Failure>()
  const [problem, setProblem] = useState('')
  const [photo, setPhoto] = useState(false)
  const abort = useRef<AbortController | undefined>(undefined)
  const input = useRef<HTMLTextAreaElement>(null)
  const chooser = useRef<HTMLInputElement>(null)
  const end = useStuckToEnd(messages)
  const cards = models.use()
  const busy = messages.at(-1)?.state === 'waiting' || messages.at(-1)?.state === 'streaming'
  const model = options.model || String(cards.at(0)?.id ?? '')

  useEffect(() => () => abort.current?.abort(), [])

  async function attach(files: File[]) {
    const usable = files.filter((file) => kindOf(file, KINDS))
    const other = files.find((file) => !kindOf(file, KINDS))
    setProblem(other ? `${other.name} is neither a picture nor a clip.` : '')
    const added = await Promise.all(usable.map(read))
    setAttached((before) => [...before, ...added])
    input.current?.focus()
  }
  const over = useDropped(active, (files) => void attach(files))

  async function pick(sample: Sample) {
    setText(String(sample.fields.prompt))
    setAttached([await read(await fileOf(sample))])
    input.current?.focus()
  }

  /** Asks with the messages so far; the last one is the person's. */
  async function ask(asked: Message[]) {
    const mine = new AbortController()
    abort.current = mine
    setFailure(undefined)
    let answer: Message = { role: 'assistant', text: '', attached: [], state: 'waiting' }
    let frame = 0
    const draw = (changes: Partial<Message>) => {
      answer = { ...answer, ...changes }
      frame ||= requestAnimationFrame(() => {
        frame = 0
        setMessages([...asked, answer])
      })
    }
    draw({})
    announce('Asking the model')
    const startedMs = performance.now()
    let firstMs: number | undefined
    let usage: Record<string, unknown> | undefined
    try {
      const response = await request('/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(bodyOf(asked, options, model)),
        signal: mine.signal,
      })
      const seen = response.headers.get('x-model-input-size')
      draw({ state: 'streaming', ...(seen && { seen }) })
      for await (const event of streamed(response)) {
        const chunk = JSON.parse(event.data) as { choices?: { delta?: { content?: string | null } }[]; usage?: unknown }
        if (isRecord(chunk.usage)) usage = chunk.usage
        const piece = chunk.choices?.[0]?.delta?.content
        if (!piece) continue
        firstMs ??= performance.now()
        draw({ text: answer.text + piece })
      }
      draw({ state: 'done', cost: costOf(startedMs, firstMs, performance.now(), usage) })
      announce(`The model said: ${answer.text.slice(0, 500)}`)
    } catch (thrown) {
      if (mine.signal.aborted) {
        draw({ state: 'stopped' })
        announce('Stopped')
        return
      }
      setFailure(failureOf(thrown))
      window.cancelAnimationFrame(frame)
      setMessages(answer.text ? [...asked, { ...answer, state: 'stopped' }] : asked)
    }
  }

  function send() {
    // What stands in the field: on a busy machine Enter comes before the page was drawn with it.
    const said = (input.current?.value ?? text).trim()
    if (busy || (!said && !attached.length)) return
    const asked: Message[] = [...messages, { role: 'user', text: said, attached }]
    setMessages(asked)
    setText('')
    setAttached([])
    void ask(asked)
  }

  function again() {
    void ask(messages.at(-1)?.role === 'assistant' ? messages.slice(0, -1) : messages)
  }

  const draft: Message[] = [...messages, ...(text || attached.length ? [{ role: 'user' as const, text, attached }] : [])]
  const written = () => {
    const shown = draft.at(-1)?.role === 'assistant' ? draft.slice(0, -1) : draft
    const files = shown.flatMap((message) => message.attached)
    const named: Placeholder[] = files.map(({ file, uri }) => ({ uri, name: file.name, type: typeOf(file) }))
    return chatCode(bodyOf(shown, options, model), named)
  }

  return (
    <div class="chat">
      <div class="chat-main">
        <div class="messages" role="log" aria-label="Conversation" tabIndex={0} ref={end}>
          {!messages.length && (
            <div class="hello">
              <h2>Ask about a picture or a clip</h2>
              <p class="muted">Drop one anywhere, paste it, or start with a sample.</p>
              <div class="cards">
                {samplesFor('chat', KINDS).map((sample) => (
                  <button type="button" key={sample.id} class="sample-card" onClick={() => void pick(sample)}>
                    <img src={sample.thumbnail} alt="" />
                    <strong>{sample.title}</strong>
                    <span class="muted">{String(sample.fields.prompt)}</span>
                  </button>
                ))}
              </div>
            </div>
          )}
          {messages.map((message, at) => (
            <MessageView key={at} message={message} />
          ))}
          {failure && <ErrorCard failure={failure} again={again} />}
        </div>
        <form
          class={over ? 'composer over' : 'composer'}
          onSubmit={(event) => {
            event.preventDefault()
            send()
          }}
        >
          {problem && (
            <p class="problem" role="alert">
              {problem}
            </p>
          )}
          {attached.length > 0 && (
            <ul class="attached plain">
              {attached.map((each) => (
                <li key={each.url}>
                  <Preview attached={each} />
                  <button
                    type="button"
                    class="remove"
                    aria-label={`Remove ${each.file.name}`}
                    onClick={() => setAttached(attached.filter((other) => other !== each))}
                  >
                    <Icon name="close" size={14} />
                  </button>
                </li>
              ))}
            </ul>
          )}
          <textarea
            ref={input}
            rows={2}
            value={text}
            aria-label="Message"
            placeholder={over ? 'Drop it here' : 'Ask something'}
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
              event.preventDefault()
              send()
            }}
          />
          <div class="row composer-bar">
            <input
              ref={chooser}
              class="sr-only"
              type="file"
              multiple
              tabIndex={-1}
              accept={accept(KINDS)}
              aria-label="Choose pictures and clips"
              onChange={(event) => {
                void attach([...(event.currentTarget.files ?? [])])
                event.currentTarget.value = ''
              }}
            />
            <button type="button" class="bare" aria-label="Add pictures or clips" onClick={() => chooser.current?.click()}>
              <Icon name="plus" />
            </button>
            {hasCamera() && (
              <button type="button" class="bare" aria-label="Take a photo" onClick={() => setPhoto(true)}>
                <Icon name="camera" />
              </button>
            )}
            <span class="row end">
              {busy ? (
                <button type="button" class="primary round stop" aria-label="Stop" onClick={() => abort.current?.abort()}>
                  <Icon name="stop" />
                </button>
              ) : (
                <button type="submit" class="primary round" aria-label="Send" disabled={!text.trim() && !attached.length}>
                  <Icon name="send" />
                </button>
              )}
            </span>
          </div>
        </form>
      </div>
      <aside class="chat-side card" aria-label="Settings of the chat">
        <details open={window.matchMedia('(min-width: 960px)').matches}>
          <summary>Settings</summary>
          <div class="stack">
            <label class="field">
              <span>System prompt</span>
              <textarea
                rows={3}
                value={options.system}
                placeholder="You are a helpful assistant."
                onInput={(event) => setOptions({ ...options, system: event.currentTarget.value })}
              />
            </label>
            {cards.length > 1 && (
              <label class="field">
                <span>Model</span>
                <select value={model} onChange={(event) => setOptions({ ...options, model: event.currentTarget.value })}>
                  {cards.map((card) => (
                    <option key={card.id}>{card.id}</option>
                  ))}
                </select>
              </label>
            )}
            <label class="field">
              <span>Temperature</span>
              <input
                type="number"
                min="0"
                max="2"
                step="0.1"
                value={options.temperature}
                placeholder="as the model has it"
                onInput={(event) => setOptions({ ...options, temperature: event.currentTarget.value })}
              />
            </label>
            <label class="field">
              <span>Longest answer, in tokens</span>
              <input
                type="number"
                min="1"
                step="1"
                value={options.maxTokens}
                placeholder="as the server has it"
                onInput={(event) => setOptions({ ...options, maxTokens: event.currentTarget.value })}
              />
            </label>
          </div>
        </details>
        <div class="row">
          <CodeButton written={written} disabled={!draft.length} />
          <button
            type="button"
            class="quiet"
            disabled={!messages.length || busy}
            onClick={() => {
              setMessages([])
              setFailure(undefined)
            }}
          >
            New chat
          </button>
        </div>
      </aside>
      {photo && <Camera taken={(file) => void attach([file])} close={() => setPhoto(false)} />}
    </div>
  )
}
