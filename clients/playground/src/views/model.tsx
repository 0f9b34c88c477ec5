import { isRecord, type Json, type ModelCard } from '../api'
import { size } from '../files'
import { fit, models, readiness, tasks } from '../server'
import { title } from '../schema'

const NAMES: Record<string, string> = {
  id: 'Name', root: 'Checkpoint', parent: 'Alias of', owned_by: 'Served by', created: 'Known since',
  max_model_len: 'Context', object: 'Kind', vram: 'GPU memory', aliases: 'Also called',
  max_body_bytes: 'Longest request', max_tokens: 'Longest answer', image_max_bytes: 'Largest picture, as a file',
  image_max_pixels: 'Largest picture', video_max_bytes: 'Largest clip', video_max_duration_s: 'Longest clip',
  document_max_bytes: 'Largest document', document_max_pages: 'Most pages',
} // prettier-ignore
const UNITS: [RegExp, (value: number) => string][] = [
  [/_bytes$|^bytes$/, size],
  [/_gib$/, (value) => `${value.toFixed(1)} GiB`],
  [/^created$/, (value) => new Date(value * 1000).toLocaleString()],
  [/^max_model_len$|tokens$/, (value) => `${value.toLocaleString()} tokens`],
  [/_s$/, duration],
  [/pixels$/, (value) => `${(value / 1e6).toLocaleString()} megapixels`],
]

function duration(seconds: number): string {
  if (seconds >= 3600) return `${(seconds / 3600).toLocaleString()} h`
  return seconds >= 120 ? `${(seconds / 60).toLocaleString()} min` : `${seconds} s`
}

/** Cards of one model under several names are one card. */
function merged(cards: ModelCard[]): ModelCard[] {
  const kept = new Map<string, ModelCard>()
  for (const card of cards) {
    const { id, parent: _, ...rest } = card
    const same = JSON.stringify(rest)
    const first = kept.get(same)
    if (first) first.aliases = [...((first.aliases as Json[] | undefined) ?? []), id]
    else kept.set(same, { ...card })
  }
  return [...kept.values()]
}

/** What answers here, what it takes, and where else it would fit. */
export function Model() {
  const cards = merged(models.use())
  const { state, reason } = readiness.use()
  const listed = tasks.use()
  const rows = rowsOf(fit.use())
  const limits = listed[0]?.limits ?? {}
  return (
    <div class="model">
      <section aria-labelledby="models">
        <h2 id="models">Models</h2>
        <p class="row">
          <i class={`light ${state}`} /> {state === 'ready' ? 'The engine is ready.' : reason}
        </p>
        {!cards.length && <p class="muted">No model is served yet.</p>}
        <div class="cards wide">
          {cards.map((card) => (
            <article class="card" key={card.id}>
              <h3>{card.id}</h3>
              <dl class="facts">
                {Object.entries(card)
                  .filter(([name, value]) => value !== null && !['id', 'object', 'permission'].includes(name))
                  .map(([name, value]) => (
                    <Fact name={name} value={value} />
                  ))}
              </dl>
            </article>
          ))}
        </div>
      </section>
      {rows.length > 0 && <Fit rows={rows} />}
      {listed.length > 0 && (
        <section aria-labelledby="limits">
          <h2 id="limits">Limits of this server</h2>
          <dl class="facts card">
            {Object.entries(limits).map(([name, value]) => (
              <Fact name={name} value={value} />
            ))}
          </dl>
        </section>
      )}
    </div>
  )
}

function Fact({ name, value }: { name: string; value: Json }) {
  return (
    <>
      <dt>{NAMES[name] ?? title(name.replace(/_(bytes|s|gib)$/, ''))}</dt>
      <dd>{worded(name, value)}</dd>
    </>
  )
}

function worded(name: string, value: unknown): string {
  if (value === null || value === undefined) return '–'
  if (typeof value === 'number') return UNITS.find(([pattern]) => pattern.test(name))?.[1](value) ?? value.toLocaleString()
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) return value.map((each) => worded(name, each)).join(', ')
  if (isRecord(value)) return Object.entries(value).map(([key, each]) => `${title(key)}: ${worded(key, each)}`).join('; ')
  return String(value)
}

type Row = Record<string, unknown>

/** Rows of what `GET /v1/fit` answered, wherever in it they stand. */
function rowsOf(answer: unknown): Row[] {
  if (Array.isArray(answer)) return answer.filter(isRecord)
  if (!isRecord(answer)) return []
  const list = answer.data ?? Object.values(answer).find((value) => Array.isArray(value) && value.some(isRecord))
  return Array.isArray(list) ? list.filter(isRecord) : []
}

function Fit({ rows }: { rows: Row[] }) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) =>
    rows.some((row) => row[name] !== null && row[name] !== undefined && name !== 'object'),
  )
  return (
    <section aria-labelledby="fit">
      <h2 id="fit">Will it fit?</h2>
      <div class="scroll card" tabIndex={0} role="region" aria-labelledby="fit">
        <table>
          <thead>
            <tr>
              {columns.map((name) => (
                <th scope="col">{NAMES[name] ?? title(name)}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr>
                {columns.map((name) => (
                  <td>{verdict(name, row[name])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function verdict(name: string, value: unknown) {
  if (typeof value !== 'boolean') return worded(name, value)
  return <span class={value ? 'yes' : 'no'}>{value ? 'Yes' : 'No'}</span>
}
