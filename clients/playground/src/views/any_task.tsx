import { useMemo } from 'preact/hooks'
import { isRecord, type TaskCard } from '../api'
import { colourOf } from '../colours'
import { kindOf, save } from '../files'
import { inWords, isBox, isExtent, type Extent } from '../geometry'
import { Copy } from '../parts/copy'
import { Icon } from '../parts/icons'
import { PageView, useShown } from '../parts/pages'
import { Stage, type Mark } from '../parts/stage'
import type { Item, Run } from '../run'
import { title } from '../schema'
import { TaskView, useBench } from './task_view'

const ENVELOPE = ['id', 'object', 'created', 'model', 'warnings', 'finish_reason', 'usage', 'stream']

/** Any task of `GET /v1/tasks` that has no page of its own: a form from its schema, and what came of it by its shape. */
export function AnyTask({ task, active }: { task: TaskCard; active: boolean }) {
  const bench = useBench(task, active)
  const { run, file, hovered, hover } = bench
  const kind = file && kindOf(file, bench.kinds)
  const { shown, problem } = useShown(kind === 'document' ? file : undefined, bench.url)
  const places = useMemo(() => placesOf(run), [run.items, run.result])
  const texts = textsOf(run)
  const busy = bench.runner.busy
  const marks = (page: number) => places.filter((place) => place.page === page).map((place) => place.mark)
  const summary = texts[0]?.[1].slice(0, 300) ?? `${places.length} places`

  return (
    <TaskView
      bench={bench}
      verb={title(task.id)}
      hidden={kind === 'document' ? [] : ['page', 'pages']}
      summary={summary}
      stage={
        kind === 'video' ? (
          <div class="player">
            <video src={bench.url} controls muted playsInline preload="auto" aria-label={file?.name} />
          </div>
        ) : kind === 'document' ? (
          <>
            {problem && <p class="muted">{problem}</p>}
            <div class="pages" tabIndex={0} role="region" aria-label="Pages of the document">
              {Array.from({ length: Math.min(shown?.pages ?? 1, 200) }, (_, at) => (
                <div class="page" key={at}>
                  <PageView
                    shown={shown}
                    number={at + 1}
                    extent={extentOf(run, at + 1)}
                    marks={marks(at + 1)}
                    hovered={hovered}
                    hover={hover}
                    busy={busy}
                  />
                </div>
              ))}
            </div>
          </>
        ) : (
          <Stage
            url={bench.url}
            alt={file?.name ?? ''}
            extent={extentOf(run, 1)}
            marks={marks(1)}
            hovered={hovered}
            hover={hover}
            showNames={places.every(({ mark }) => mark.named)}
            busy={busy}
          />
        )
      }
    >
      {(texts.length > 0 || run.result || places.length > 0) && (
        <div class="card results" data-state={run.state}>
          <header>
            <h2>Answer</h2>
            {run.result && (
              <button
                type="button"
                class="quiet"
                onClick={() => save(`${task.id}.json`, JSON.stringify(run.result, null, 2), 'application/json')}
              >
                <Icon name="down" size={16} /> JSON
              </button>
            )}
          </header>
          {texts.map(([name, text]) => (
            <div class="told" key={name}>
              <p class="prose plain-text">{text}</p>
              {run.result && <Copy text={text} what={name} small />}
            </div>
          ))}
          {recordsOf(run).map(([name, record]) => (
            <Facts key={name} record={record} places={places} hovered={hovered} hover={hover} />
          ))}
          {places.length > 0 && (
            <ol class="found">
              {places.map(({ mark }) => (
                <li key={mark.id}>
                  <button
                    type="button"
                    class={mark.id === hovered ? 'active' : ''}
                    onPointerEnter={() => hover(mark.id)}
                    onPointerLeave={() => hover(undefined)}
                    onFocus={() => hover(mark.id)}
                    onBlur={() => hover(undefined)}
                  >
                    <i class="dot" style={{ background: mark.colour }} />
                    <span class="grow">{mark.name}</span>
                    {mark.detail && <span class="muted">{mark.detail}</span>}
                    <code>{inWords(mark.box!)}</code>
                  </button>
                </li>
              ))}
            </ol>
          )}
        </div>
      )}
    </TaskView>
  )
}

interface Place {
  page: number
  /** `named` unless its name is the very text that it frames. */
  mark: Mark & { named: boolean }
}

/** Everything in the answer that says where it stands. */
function placesOf(run: Run): Place[] {
  const lists = run.result ? Object.values(run.result).filter((value) => Array.isArray(value)) : [run.items]
  const found = (lists.flat() as unknown[]).filter((each): each is Item => isRecord(each) && isBox(each.bbox_2d))
  const names = found.map((each) => String(each.field ?? each.label ?? each.text ?? each.description ?? 'Place'))
  const kinds = [...new Set(found.map(kindOfPlace))]
  return found.map((each, at) => ({
    page: Number(each.page ?? 1),
    mark: {
      id: at,
      box: each.bbox_2d as [number, number, number, number],
      name: names[at]!,
      named: each.text === undefined,
      aside: each.field !== undefined,
      colour: colourOf(kindOfPlace(each), kinds),
      ...(typeof each.match === 'string' && { detail: each.match }),
    },
  }))
}

/** What tells colours apart: lines of text are all of one kind. */
const kindOfPlace = (item: Item) => String(item.field ?? item.label ?? '')

/** Texts of the answer by their names; those that grow while it streams are its first one. */
function textsOf(run: Run): [string, string][] {
  if (!run.result) {
    const text = run.items.map((item) => (typeof item.delta === 'string' ? item.delta : '')).join('')
    return text ? [['answer', text]] : []
  }
  return Object.entries(run.result).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string' && !ENVELOPE.includes(entry[0]) && entry[1].length > 0 && !/^coordinate/.test(entry[0]),
  )
}

function recordsOf(run: Run): [string, Record<string, unknown>][] {
  const from = run.result ?? run.items.find((item) => isRecord(item.data)) ?? {}
  return Object.entries(from).filter(
    (entry): entry is [string, Record<string, unknown>] => isRecord(entry[1]) && !ENVELOPE.includes(entry[0]) && !isExtent(entry[1]),
  )
}

function extentOf(run: Run, page: number): Extent | undefined {
  if (isExtent(run.result?.image)) return run.result.image
  const pages = run.result?.pages
  const found = Array.isArray(pages) ? (pages as unknown[]).find((each) => isRecord(each) && each.page === page) : undefined
  return isRecord(found) && isExtent(found.image) ? found.image : undefined
}

interface FactsProps {
  record: Record<string, unknown>
  places: Place[]
  hovered: number | undefined
  hover: (id: number | undefined) => void
}

/** Names and values; a value whose place is known lights it up. */
function Facts({ record, places, hovered, hover }: FactsProps) {
  return (
    <table class="facts-table">
      <tbody>
        {flat(record).map(([name, value]) => {
          const place = places.find((each) => each.mark.name === name)?.mark
          return (
            <tr
              key={name}
              class={place && place.id === hovered ? 'active' : ''}
              onPointerEnter={() => place && hover(place.id)}
              onPointerLeave={() => place && hover(undefined)}
            >
              <th scope="row">{name}</th>
              <td>{value === null ? <span class="muted">none</span> : String(value)}</td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}

/** Nested values by their paths: `items[0].price`. */
function flat(value: unknown, path = ''): [string, unknown][] {
  if (Array.isArray(value)) return value.flatMap((each: unknown, at) => flat(each, `${path}[${at}]`))
  if (isRecord(value)) return Object.entries(value).flatMap(([name, each]) => flat(each, path ? `${path}.${name}` : name))
  return [[path, value]]
}
