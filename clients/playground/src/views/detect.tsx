import { useMemo, useState } from 'preact/hooks'
import type { TaskCard } from '../api'
import { colourOf } from '../colours'
import { coco, overlay, yolo, yoloNames } from '../exports'
import { save } from '../files'
import { inWords, isBox, isExtent, isPoint, type Extent } from '../geometry'
import { Icon } from '../parts/icons'
import { Menu } from '../parts/menu'
import { Segments } from '../parts/segments'
import { Stage, type Mark } from '../parts/stage'
import type { Item } from '../run'
import { TaskView, useBench, type Bench } from './task_view'

type Question = 'labels' | 'description' | 'everything'
const FIELDS: Record<Question, string[]> = {
  labels: ['labels', 'sub_labels', 'mode'],
  description: ['prompt', 'mode'],
  everything: ['mode'],
}
const HINTS = { labels: 'star, circle', sub_labels: 'red, blue', prompt: 'the person who acts bravely' }

/** Things found in a picture, drawn as each is known. */
export function Detect({ task, active }: { task: TaskCard; active: boolean }) {
  const bench = useBench(task, active)
  const [question, ask] = useState<Question>('labels')
  const [hidden, hide] = useState<ReadonlySet<string>>(new Set())
  const [names, showNames] = useState(true)
  const { run, values } = bench

  const items = (run.result?.objects as Item[] | undefined) ?? run.items
  const groups = useMemo(() => groupsOf(items), [items])
  const marks = useMemo(
    () => items.map((item, at) => markOf(item, at, groups)).filter((mark) => !hidden.has(mark.group)),
    [items, groups, hidden],
  )
  const asked = question === 'labels' ? (values.labels as string[] | undefined) ?? [] : []

  function choose(next: Question) {
    ask(next)
    const { labels: _, sub_labels: __, prompt: ___, ...kept } = values
    bench.change(kept)
  }
  const pick: Bench['pick'] = (sample) => {
    ask(sample.fields.prompt ? 'description' : 'labels')
    hide(new Set())
    bench.pick(sample)
  }

  const summary = `${items.length} ${items.length === 1 ? 'object' : 'objects'}`
  const ready = question === 'everything' || Boolean(question === 'labels' ? asked.length : values.prompt)
  const missing = (run.result?.not_found as string[] | undefined) ?? []
  return (
    <TaskView
      bench={{ ...bench, pick }}
      verb="Detect"
      first={FIELDS[question]}
      hidden={['labels', 'sub_labels', 'prompt', 'format'].filter((name) => !FIELDS[question].includes(name))}
      hints={HINTS}
      ready={ready}
      summary={summary}
      controls={
        <Segments
          label="Look for"
          names={['labels', 'description', 'everything']}
          titles={{ labels: 'Labels', description: 'A description', everything: 'Everything' }}
          chosen={question}
          choose={choose}
        />
      }
      stage={
        <Stage
          url={bench.url}
          alt={bench.file?.name ?? ''}
          extent={isExtent(run.result?.image) ? run.result.image : undefined}
          marks={marks}
          hovered={bench.hovered}
          hover={bench.hover}
          showNames={names}
          busy={bench.runner.busy}
        />
      }
    >
      {(items.length > 0 || run.state === 'done') && (
        <div class="card results" data-state={run.state}>
          <header>
            <h2>{run.state === 'streaming' ? `${summary} so far` : summary}</h2>
            {run.result && <Export bench={bench} items={items} asked={asked} groups={groups} />}
          </header>
          <div class="row legend" role="group" aria-label="Shown on the picture">
            {groups.map((group) => (
              <button
                type="button"
                key={group}
                class="chip toggle"
                aria-pressed={!hidden.has(group)}
                onClick={() => hide(toggled(hidden, group))}
              >
                <i class="dot" style={{ background: colourOf(group, groups) }} /> {group}
                <span class="count">{items.filter((item) => groupOf(item) === group).length}</span>
              </button>
            ))}
            {items.length > 0 && (
              <button type="button" class="chip toggle" aria-pressed={names} onClick={() => showNames(!names)}>
                Names
              </button>
            )}
          </div>
          {missing.length > 0 && (
            <p class="muted">
              Not found: {missing.map((name) => <span class="chip off">{name}</span>)}
            </p>
          )}
          {run.state === 'done' && !items.length && !missing.length && <p class="muted">Nothing was found.</p>}
          <List items={items} groups={groups} hovered={bench.hovered} hover={bench.hover} />
        </div>
      )}
    </TaskView>
  )
}

/** What tells colours apart: the sub-label where there is one. */
const groupOf = (item: Item) => String(item.sub_label ?? item.label ?? 'object')
const groupsOf = (items: Item[]) => [...new Set(items.map(groupOf))]

function toggled(set: ReadonlySet<string>, name: string): ReadonlySet<string> {
  const copy = new Set(set)
  if (!copy.delete(name)) copy.add(name)
  return copy
}

function nameOf(item: Item): string {
  return [item.label ?? 'object', item.sub_label].filter(Boolean).join(', ')
}

const sure = (item: Item) => (typeof item.confidence === 'number' ? `${Math.round(item.confidence * 100)} %` : '')

function markOf(item: Item, at: number, groups: string[]): Mark & { group: string } {
  const group = groupOf(item)
  return {
    id: at,
    group,
    ...(isBox(item.bbox_2d) && { box: item.bbox_2d }),
    ...(isPoint(item.point_2d) && { point: item.point_2d }),
    name: nameOf(item),
    detail: sure(item),
    colour: colourOf(group, groups),
  }
}

interface ListProps {
  items: Item[]
  groups: string[]
  hovered: number | undefined
  hover: (id: number | undefined) => void
}

function List({ items, groups, hovered, hover }: ListProps) {
  return (
    <ol class="found">
      {items.map((item, at) => {
        const place = item.bbox_2d ?? item.point_2d
        return (
          <li key={at}>
            <button
              type="button"
              class={at === hovered ? 'active' : ''}
              onPointerEnter={() => hover(at)}
              onPointerLeave={() => hover(undefined)}
              onFocus={() => hover(at)}
              onBlur={() => hover(undefined)}
            >
              <i class="dot" style={{ background: colourOf(groupOf(item), groups) }} />
              <span class="grow">{nameOf(item)}</span>
              <span class="muted">{sure(item)}</span>
              <code>{isBox(place) || isPoint(place) ? inWords(place) : ''}</code>
            </button>
          </li>
        )
      })}
    </ol>
  )
}

function Export({ bench, items, asked, groups }: { bench: Bench; items: Item[]; asked: string[]; groups: string[] }) {
  const { result } = bench.run
  const file = bench.file?.name ?? 'picture'
  const stem = file.replace(/\.\w+$/, '')
  const image = result!.image as Extent
  const json = (value: unknown) => JSON.stringify(value, null, 2)
  const boxes = items.some((item) => isBox(item.bbox_2d))
  return (
    <Menu
      label={
        <>
          <Icon name="down" size={16} /> Export
        </>
      }
      entries={[
        ['JSON, as answered', () => save(`${stem}.json`, json(result), 'application/json')],
        ...(boxes
          ? ([
              ['COCO', () => save(`${stem}.coco.json`, json(coco(items, image, asked, file)), 'application/json')],
              ['YOLO labels', () => save(`${stem}.txt`, yolo(items, image, asked))],
              ['YOLO classes', () => save('classes.txt', `${yoloNames(items, asked).join('\n')}\n`)],
            ] as [string, () => void][])
          : []),
        [
          'Picture with boxes, PNG',
          () =>
            void overlay(bench.url!, items, image, (item) => colourOf(groupOf(item), groups)).then((blob) =>
              save(`${stem}.overlay.png`, blob),
            ),
        ],
      ]}
    />
  )
}
