import type { ComponentChild } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { apiKey, keyWanted, setKey, type TaskCard } from './api'
import { Announcer } from './parts/announce'
import { Dialog } from './parts/dialog'
import { ErrorCard } from './parts/error_card'
import { Icon, type IconName } from './parts/icons'
import { load, loaded, models, readiness, tasks, unreachable } from './server'
import { title } from './schema'
import { useTheme } from './theme'
import { Agent } from './views/agent'
import { AnyTask } from './views/any_task'
import { Chat } from './views/chat'
import { Detect } from './views/detect'
import { Document } from './views/document'
import { Model } from './views/model'
import { Video } from './views/video'

interface View {
  id: string
  title: string
  icon: IconName
  summary: string
  draw: (active: boolean) => ComponentChild
}

type TaskPage = (props: { task: TaskCard; active: boolean }) => ComponentChild
/** Tasks with a page of their own; every other task of the server has one made from its schema. */
const PAGES: Record<string, [title: string, icon: IconName, page: TaskPage]> = {
  detect: ['Detect', 'detect', Detect],
  'parse-document': ['Document', 'document', Document],
  'localize-events': ['Video', 'video', Video],
  act: ['Agent', 'agent', Agent],
}
const ICONS: Record<string, IconName> = { caption: 'caption', extract: 'extract', 'read-text': 'text' }
const ORDER = Object.keys(PAGES)

function viewsOf(cards: TaskCard[]): View[] {
  const place = (card: TaskCard) => (ORDER.includes(card.id) ? ORDER.indexOf(card.id) : ORDER.length)
  const chat = { id: 'chat', title: 'Chat', icon: 'chat' as const, summary: 'Talk about pictures and clips.' }
  const model = { id: 'model', title: 'Model', icon: 'model' as const, summary: 'What answers here, and what it takes.' }
  return [
    { ...chat, draw: (active) => <Chat active={active} /> },
    ...[...cards].sort((a, b) => place(a) - place(b)).map((task): View => {
      const [name, icon, Page] = PAGES[task.id] ?? [title(task.id), ICONS[task.id] ?? 'task', AnyTask]
      return { id: task.id, title: name, icon, summary: task.summary, draw: (active) => <Page task={task} active={active} /> }
    }),
    { ...model, draw: (active) => <Model active={active} /> },
  ]
}

/** The page: a list of views, and the one that is looked at. What was done in the others stays. */
export function App() {
  const views = viewsOf(tasks.use())
  const asked = useHash()
  const current = views.find((view) => view.id === asked) ?? views[0]!
  const [visited, visit] = useState<ReadonlySet<string>>(new Set())
  const problem = unreachable.use()
  const ready = loaded.use()

  useEffect(() => void load(), [])
  useEffect(() => {
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' })
    visit((before) => new Set([...before, current.id]))
    document.title = `${current.title} · Playground`
  }, [current.id])

  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Announcer />
      <KeyDialog />
      <header class="bar">
        <a class="brand" href="#/chat">
          <Logo /> <span>Playground</span>
        </a>
        <nav aria-label="Views">
          <ul class="plain">
            {views.map((view) => (
              <li key={view.id}>
                <a href={`#/${view.id}`} aria-current={view === current ? 'page' : undefined}>
                  <Icon name={view.icon} /> <span>{view.title}</span>
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <div class="bar-foot">
          <Status />
          <Theme />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <div class="heading">
          <h1>{current.title}</h1>
          <p class="muted">{current.summary}</p>
        </div>
        {problem && problem.code !== 'invalid_api_key' && <ErrorCard failure={problem} again={() => void load()} />}
        {!ready && !problem && current.id !== 'chat' && <p class="muted">Asking the server what it can do …</p>}
        {views.map((view) => (
          <div key={view.id} class="view" hidden={view !== current}>
            {(visited.has(view.id) || view === current) && view.draw(view === current)}
          </div>
        ))}
      </main>
    </>
  )
}

function useHash(): string {
  const read = () => location.hash.replace(/^#\/?/, '')
  const [hash, set] = useState(read)
  useEffect(() => {
    const changed = () => set(read())
    window.addEventListener('hashchange', changed)
    return () => window.removeEventListener('hashchange', changed)
  }, [])
  return hash
}

function skip(event: Event) {
  event.preventDefault()
  document.getElementById('main')?.focus()
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" width="28" height="28" class="logo" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M8 12V9.5A1.500 1.500 0 0 1 9.500 8H12M20 8h2.500A1.500 1.500 0 0 1 24 9.500V12M24 20v2.500a1.500 1.500 0 0 1-1.500 1.500H20M12 24H9.500A1.500 1.500 0 0 1 8 22.500V20" />
      <circle cx="16" cy="16" r="3.600" />
    </svg>
  )
}

function Status() {
  const { state, reason } = readiness.use()
  const name = models.use()[0]?.id
  return (
    <a class="status" href="#/model" title={reason}>
      <i class={`light ${state}`} />
      <span>
        <span class="status-name">{name ?? 'No model yet'}</span>
        <span class="sr-only">: {reason}</span>
      </span>
    </a>
  )
}

const THEMES = { auto: ['auto', 'As the system'], light: ['sun', 'Light'], dark: ['moon', 'Dark'] } as const

function Theme() {
  const [theme, next] = useTheme()
  const [icon, words] = THEMES[theme]
  return (
    <button type="button" class="bare" aria-label={`Colours: ${words}`} title={`Colours: ${words}`} onClick={next}>
      <Icon name={icon} />
    </button>
  )
}

/** Asks for a key when the server did. */
function KeyDialog() {
  const wanted = keyWanted.use()
  const known = apiKey.use()
  const [typed, type] = useState('')
  if (!wanted) return null
  return (
    <Dialog title="This server asks for a key" close={() => keyWanted.set(false)}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          setKey(typed.trim())
          type('')
          void load()
        }}
      >
        <p>{known ? 'The key that was entered is not known here.' : 'Its operator can give you one.'} It is kept for this browser tab alone.</p>
        <label class="field">
          <span>API key</span>
          <input type="password" autocomplete="off" autofocus value={typed} onInput={(event) => type(event.currentTarget.value)} />
        </label>
        <button type="submit" class="primary" disabled={!typed.trim()}>
          <Icon name="key" size={16} /> Use this key
        </button>
      </form>
    </Dialog>
  )
}
