import { isRecord, type Json, type ModelCard } from '../api'
import { size } from '../files'
import { models, readiness, sizes, tasks } from '../server'
import { title } from '../schema'
import { FitPanel } from './fit'

const NAMES: Record<string, string> = {
  root: 'Checkpoint', parent: 'Alias of', owned_by: 'Served by', max_model_len: 'Context here', aliases: 'Also called',
  good_for: 'Good for', context: 'Context', base: 'Made from', commercial_use: 'Commercial use',
  max_body_bytes: 'Longest request', max_tokens: 'Longest answer', image_max_bytes: 'Largest picture, as a file',
  image_max_pixels: 'Largest picture', video_max_bytes: 'Largest clip', video_max_duration_s: 'Longest clip',
  document_max_bytes: 'Largest document', document_max_pages: 'Most pages',
} // prettier-ignore
const ORDER = ['good_for', 'aliases', 'parameters', 'precision', 'max_model_len']
/** Said elsewhere on the card, or of no use to a reader. */
const LEFT_OUT = ['id', 'object', 'created', 'permission', 'licence', 'scores', 'scores_of', 'context', 'card', 'root']
const UNITS: [RegExp, (value: number) => string][] = [
  [/_bytes$|^bytes$/, size],
  [/_gib$/, (value) => `${value.toFixed(1)} GiB`],
  [/^parameters$/, (value) => (value >= 1e9 ? `${(value / 1e9).toFixed(1)} billion` : `${(value / 1e6).toFixed(1)} million`)],
  [/^max_model_len$|tokens$/, (value) => `${value.toLocaleString()} tokens`],
  [/_s$/, duration],
  [/pixels$/, (value) => `${(value / 1e6).toLocaleString()} megapixels`],
]

function duration(seconds: number): string {
  if (seconds >= 3600) return `${(seconds / 3600).toLocaleString()} h`
  return seconds >= 120 ? `${(seconds / 60).toLocaleString()} min` : `${seconds} s`
}

/** What answers here, what it takes, and where else it would fit. */
export function Model({ active }: { active: boolean }) {
  const cards = merged(models.use())
  const { state, reason } = readiness.use()
  const limits = tasks.use()[0]?.limits
  return (
    <div class="model">
      <section aria-label="Models">
        <p class="row">
          <i class={`light ${state}`} /> {state === 'ready' ? 'The engine is ready.' : reason}
        </p>
        {!cards.length && <p class="muted">No model is served yet.</p>}
        <div class="cards wide">
          {cards.map((card) => (
            <CardView key={card.id} card={card} />
          ))}
        </div>
      </section>
      {sizes.use() && <FitPanel served={published(cards[0])} active={active} />}
      {limits && (
        <section aria-labelledby="limits">
          <h2 id="limits">Limits of this server</h2>
          <dl class="facts card narrow">
            {Object.entries(limits).map(([name, value]) => (
              <Fact key={name} name={name} value={value} />
            ))}
          </dl>
        </section>
      )}
    </div>
  )
}

/** The name under which sizing knows a served model; none for one that was never published. */
const published = (card: ModelCard | undefined) => (card && isRecord(card.card) ? String(card.root ?? card.id) : '')

/** Cards of one model under several names are one card. */
function merged(cards: ModelCard[]): ModelCard[] {
  const kept = new Map<string, ModelCard>()
  for (const card of cards) {
    const { id, parent: _, created: __, ...rest } = card
    const same = JSON.stringify(rest)
    const first = kept.get(same)
    if (first) first.aliases = [...((first.aliases as Json[] | undefined) ?? []), id]
    else kept.set(same, { ...card })
  }
  return [...kept.values()]
}

function CardView({ card }: { card: ModelCard }) {
  const known = isRecord(card.card) ? card.card : {}
  const facts = { ...known, ...card } as Record<string, Json>
  const place = ([name]: [string, Json]) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length)
  const shown = Object.entries(facts).filter(([name, value]) => value !== null && !LEFT_OUT.includes(name))
  return (
    <article class="card">
      <h3>{card.id}</h3>
      <dl class="facts">
        {shown
          .sort((a, b) => place(a) - place(b))
          .map(([name, value]) => (
            <Fact key={name} name={name} value={value} />
          ))}
        {card.root && card.root !== card.id && <Fact name="root" value={card.root} />}
        {isRecord(known.licence) && <Licence licence={known.licence} />}
      </dl>
      {Array.isArray(known.scores) && known.scores.length > 0 && <Scores scores={known.scores as unknown as Score[]} of={known.scores_of} />}
    </article>
  )
}

function Licence({ licence }: { licence: Record<string, unknown> }) {
  return (
    <>
      <dt>Licence</dt>
      <dd>
        {String(licence.name)}. Commercial use: {String(licence.commercial_use)}.
        <details>
          <summary>What that means</summary>
          {String(licence.summary)}
        </details>
      </dd>
    </>
  )
}

interface Score {
  name: string
  value: number
  about: string
  source: string
}

function Scores({ scores, of }: { scores: Score[]; of: unknown }) {
  return (
    <details class="scores">
      <summary>Published scores</summary>
      <p class="fine">Of {String(of)}, as its makers measured them; not measured here.</p>
      <table>
        <tbody>
          {scores.map((score) => (
            <tr key={score.name} title={score.source}>
              <th scope="row">{score.name}</th>
              <td>{score.value}</td>
              <td class="muted">{score.about}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
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
