import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { isRecord, type TaskCard } from '../api'
import { colourOf } from '../colours'
import { save } from '../files'
import { isBox, type Extent } from '../geometry'
import { Copy } from '../parts/copy'
import { Icon } from '../parts/icons'
import { PageView, useShown } from '../parts/pages'
import type { Mark } from '../parts/stage'
import { Tabs } from '../parts/tabs'
import type { Item } from '../run'
import { safeNodes, safePage } from '../safe_html'
import { title } from '../schema'
import sheet from '../sheet.css?url'
import { TaskView, useBench } from './task_view'

interface Block extends Item {
  type: string
  order: number
  text: string
  html: string
}

interface Page extends Item {
  page: number
  status: 'completed' | 'partial' | 'failed'
  width?: number
  height?: number
  html?: string
  markdown?: string
  blocks?: Block[]
}

const TYPES = ['paragraph', 'title', 'table', 'figure', 'list', 'caption', 'formula', 'code', 'header', 'footer']
const PER_PAGE = 100_000
const idOf = (page: Page, block: Block) => page.page * PER_PAGE + block.order
const MOST_PAGES_IN_ADVANCE = 200
/** Pages from which only those in view are laid out. */
const MANY = 20

/** A document's pages beside what was read on them. */
export function Document({ task, active }: { task: TaskCard; active: boolean }) {
  const bench = useBench(task, active)
  const { run, file, hovered } = bench
  const { shown, problem } = useShown(file, bench.url)
  const left = useRef<HTMLDivElement>(null)
  const right = useRef<HTMLDivElement>(null)

  const pages = useMemo(() => pagesOf(run), [run.items, run.failed, run.result])
  const known = new Map(pages.map((page) => [page.page, page]))
  const count = Math.max(shown?.pages ?? 0, ...known.keys(), file ? 1 : 0)
  const numbers = Array.from({ length: Math.min(count, Math.max(MOST_PAGES_IN_ADVANCE, pages.length)) }, (_, at) => at + 1)

  const link = (side: typeof left) => (id: number | undefined) => {
    bench.hover(id)
    if (id !== undefined) reveal(side.current, `[data-mark="${id}"]`)
  }
  const go = (number: number) => {
    reveal(left.current, `[data-page="${number}"]`, true)
    reveal(right.current, `[data-read="${number}"]`, true)
  }

  const blocks = pages.reduce((sum, page) => sum + (page.blocks?.length ?? 0), 0)
  const summary = `${pages.length} ${pages.length === 1 ? 'page' : 'pages'}, ${blocks} blocks`
  return (
    <TaskView
      bench={bench}
      verb="Read"
      first={count > 1 ? ['pages'] : []}
      hidden={['output']}
      hints={{ pages: 'all, or 1-5,8' }}
      summary={summary}
      stage={
        <>
          {count > 1 && (
            <nav class="row page-bar" aria-label="Pages">
              {numbers.map((number) => (
                <button
                  type="button"
                  key={number}
                  class={`page-chip ${known.get(number)?.status ?? (bench.runner.busy ? 'waiting' : '')}`}
                  aria-label={`Page ${number}${known.has(number) ? `, ${known.get(number)!.status}` : ''}`}
                  onClick={() => go(number)}
                >
                  {number}
                </button>
              ))}
            </nav>
          )}
          {problem && <p class="muted">{problem}</p>}
          <div class="pages" ref={left} tabIndex={0} role="region" aria-label="Pages of the document">
            {numbers.map((number) => {
              const page = known.get(number)
              return (
                <div class={count > MANY ? 'page many' : 'page'} data-page={number} key={number}>
                  <PageView
                    shown={shown}
                    number={number}
                    extent={extentOf(page)}
                    marks={marksOf(page)}
                    hovered={hovered}
                    hover={link(right)}
                    busy={bench.runner.busy && !page}
                  />
                </div>
              )
            })}
          </div>
        </>
      }
    >
      {(pages.length > 0 || run.state === 'done') && (
        <div class="card results" data-state={run.state}>
          <header>
            <h2>{run.state === 'streaming' ? `${pages.length} of ${count} pages` : summary}</h2>
          </header>
          <Read pages={pages} result={run.result} name={file?.name ?? 'document'} hovered={hovered} hover={link(left)} list={right} />
        </div>
      )}
    </TaskView>
  )
}

/** Pages in their order, those that failed among them. */
function pagesOf(run: { items: Item[]; failed: Item[]; result?: Record<string, unknown> }): Page[] {
  const found = run.result ? (run.result.pages as Page[]) : [...run.items, ...run.failed.map(asFailed)] as Page[]
  return [...found].sort((a, b) => a.page - b.page)
}

const asFailed = (item: Item) => ({ page: item.page, status: 'failed', error: item.error })

function extentOf(page: Page | undefined): Extent | undefined {
  return page?.width && page.height ? { width: page.width, height: page.height } : undefined
}

function marksOf(page: Page | undefined): Mark[] {
  return (page?.blocks ?? []).flatMap((block) =>
    isBox(block.bbox_2d)
      ? [{ id: idOf(page!, block), box: block.bbox_2d, name: title(block.type), colour: colourOf(block.type, TYPES) }]
      : [],
  )
}

/** Scrolls a list, and never the window, so that what `selector` names can be seen in it. */
function reveal(list: HTMLElement | null, selector: string, toTop = false): void {
  const found = list?.querySelector<HTMLElement>(selector)
  if (!list || !found) return
  const [outer, inner] = [list.getBoundingClientRect(), found.getBoundingClientRect()]
  if (toTop) list.scrollTop += inner.top - outer.top - 8
  else if (inner.top < outer.top) list.scrollTop -= outer.top - inner.top + 24
  else if (inner.bottom > outer.bottom) list.scrollTop += Math.min(inner.bottom - outer.bottom + 24, inner.top - outer.top - 24)
}

type Form = 'blocks' | 'markdown' | 'html' | 'json'

interface ReadProps {
  pages: Page[]
  result: Record<string, unknown> | undefined
  name: string
  hovered: number | undefined
  hover: (id: number | undefined) => void
  list: { current: HTMLDivElement | null }
}

function Read({ pages, result, name, hovered, hover, list }: ReadProps) {
  const [form, show] = useState<Form>('blocks')
  const joined = (part: 'markdown' | 'html', between: string) =>
    String(result?.[part] ?? pages.map((page) => page[part] ?? '').join(between))
  const text = () =>
    ({
      blocks: () => pages.flatMap((page) => (page.blocks ?? []).map((block) => block.text)).join('\n\n'),
      markdown: () => joined('markdown', '\n\n'),
      html: () => joined('html', '\n'),
      json: () => JSON.stringify(result ?? { pages }, null, 2),
    })[form]()
  const endings = { blocks: 'txt', markdown: 'md', html: 'html', json: 'json' }
  return (
    <Tabs
      label="Form"
      names={['blocks', 'markdown', 'html', 'json']}
      titles={{ blocks: 'Blocks', markdown: 'Markdown', html: 'HTML', json: 'JSON' }}
      shown={form}
      show={show}
      beside={
        <span class="row">
          <Copy text={text()} what={`${form} of the document`} small />
          <button
            type="button"
            class="bare"
            aria-label="Save"
            onClick={() => save(`${name.replace(/\.\w+$/, '')}.${endings[form]}`, text())}
          >
            <Icon name="down" size={16} />
          </button>
        </span>
      }
    >
      <div class="scroller" ref={list} tabIndex={0}>
        {form === 'blocks' &&
          pages.map((page) => <PageBlocks key={page.page} page={page} hovered={hovered} hover={hover} alone={pages.length === 1} many={pages.length > MANY} />)}
        {form === 'html' && <iframe class="sandbox" sandbox="" title="The document as HTML" srcdoc={safePage(text(), sheet)} />}
        {(form === 'markdown' || form === 'json') && <pre class="raw plain-text">{text()}</pre>}
      </div>
    </Tabs>
  )
}

interface BlocksProps {
  page: Page
  alone: boolean
  many: boolean
  hovered: number | undefined
  hover: (id: number | undefined) => void
}

function PageBlocks({ page, alone, many, hovered, hover }: BlocksProps) {
  const error = isRecord(page.error) ? page.error : undefined
  return (
    <section class={many ? 'page-blocks many' : 'page-blocks'} data-read={page.page}>
      {!alone && <h3>Page {page.page}</h3>}
      {page.status === 'failed' && <p class="problem">This page could not be read. {String(error?.message ?? '')}</p>}
      {page.status === 'partial' && <p class="problem">This page was read in part: the answer was cut off.</p>}
      {(page.blocks ?? []).map((block) => {
        const id = idOf(page, block)
        return <BlockView key={id} id={id} block={block} active={id === hovered} hover={hover} />
      })}
    </section>
  )
}

function BlockView({ id, block, active, hover }: { id: number; block: Block; active: boolean; hover: (id?: number) => void }) {
  const nodes = useMemo(() => safeNodes(block.html), [block.html])
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const frame = box.current
    if (!frame) return
    const links = () => hover(id)
    frame.addEventListener('focusin', links)
    return () => frame.removeEventListener('focusin', links)
  }, [id])
  return (
    <div
      ref={box}
      class={active ? 'block active' : 'block'}
      data-mark={id}
      tabIndex={0}
      onPointerEnter={() => hover(id)}
      onPointerLeave={() => hover(undefined)}
      style={{ '--colour': colourOf(block.type, TYPES) }}
    >
      <span class="block-type">{title(block.type)}</span>
      <div class="prose">{nodes}</div>
    </div>
  )
}
