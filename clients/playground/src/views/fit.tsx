import { useEffect, useId, useState } from 'preact/hooks'
import { getJson } from '../api'
import { failureOf, type Failure } from '../failures'
import { Copy } from '../parts/copy'
import { ErrorCard } from '../parts/error_card'
import { title } from '../schema'

/** What `GET /v1/fit` answers. */
interface Fit {
  verdict: string
  summary: string
  missing: string | null
  request_tokens: number
  largest_context: number
  largest_concurrency: number
  memory: { term: string; gib: number; certainty: string; formula: string }[]
  kv_cache: { gib: number; tokens: number } | null
  gpu: { name: string; count: number; usable_gib: number }
  speed: { requests_per_s: number; answer_tokens_per_s: number; first_token_s: number; certainty: string } | null
  changes: unknown[]
  alternatives: { fits_if: string }[]
  warnings: unknown[]
  launch: { server: string; vllm: string } | null
}

const CARDS_GB = [16, 24, 48, 80, 141]
const PRECISIONS = { bf16: '16 bits', awq: '4 bits' } as const
type Precision = keyof typeof PRECISIONS

const ask = (fields: Record<string, string>) => getJson<Fit>(`/v1/fit?${new URLSearchParams(fields).toString()}`)

/** Whether the server can be asked; one that is older cannot, and then nothing of this is shown. */
export async function canSize(): Promise<boolean> {
  try {
    await getJson('/v1/fit')
    return true
  } catch (thrown) {
    return failureOf(thrown).status === 400 // a question is missing, but there is somebody to ask
  }
}

/** "Will it fit?": a model on cards of common sizes, and any one of them in full. */
export function FitPanel({ served, active }: { served: string; active: boolean }) {
  const [model, setModel] = useState(served)
  const [card, setCard] = useState('')
  const [precision, setPrecision] = useState<Precision | ''>('')
  const [answer, setAnswer] = useState<Fit>()
  const [failure, setFailure] = useState<Failure>()
  const id = useId()

  useEffect(() => setModel((before) => before || served), [served])

  async function check(fields: { model: string; card: string; precision: string }) {
    setFailure(undefined)
    setAnswer(undefined)
    try {
      const { model: name, card: gpu, precision: kind } = fields
      setAnswer(await ask({ model: name, gpu, ...(kind && { precision: kind }) }))
    } catch (thrown) {
      setFailure(failureOf(thrown))
    }
  }

  function choose(gpu: string, kind: Precision) {
    setCard(gpu)
    setPrecision(kind)
    void check({ model, card: gpu, precision: kind })
  }

  return (
    <section aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>Will it fit?</h2>
      <div class="card fit">
        {active && model && <Sizes model={model} choose={choose} />}
        <form
          class="fit-form"
          onSubmit={(event) => {
            event.preventDefault()
            void check({ model, card, precision })
          }}
        >
          <label class="field">
            <span>Model</span>
            <input
              type="text"
              list={`${id}-models`}
              value={model}
              placeholder="7B"
              onChange={(event) => setModel(event.currentTarget.value.trim())}
            />
          </label>
          <datalist id={`${id}-models`}>
            {[...new Set([served, '3B', '7B', '32B', '72B'])].filter(Boolean).map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
          <label class="field">
            <span>Card</span>
            <input type="text" value={card} placeholder="L4, RTX 4090, 24 GB" onInput={(event) => setCard(event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>Precision</span>
            <select value={precision} onChange={(event) => setPrecision(event.currentTarget.value as Precision | '')}>
              <option value="">As published</option>
              {Object.entries(PRECISIONS).map(([name, words]) => (
                <option key={name} value={name}>
                  {words}
                </option>
              ))}
            </select>
          </label>
          <button type="submit" class="primary" disabled={!model || !card.trim()}>
            Check
          </button>
        </form>
        {failure && <ErrorCard failure={failure} />}
        {answer && <Answer answer={answer} />}
      </div>
    </section>
  )
}

/** How many usual requests at once fit on cards of common sizes. */
function Sizes({ model, choose }: { model: string; choose: (gpu: string, precision: Precision) => void }) {
  const [cells, setCells] = useState<Record<string, Fit | null>>({})
  useEffect(() => {
    let gone = false
    setCells({})
    void (async () => {
      for (const precision of Object.keys(PRECISIONS)) {
        const found = await Promise.all(
          CARDS_GB.map((gb) => ask({ model, gpu: `${gb} GB`, precision }).catch(() => null)),
        )
        if (gone) return
        setCells((before) => ({ ...before, ...Object.fromEntries(found.map((each, at) => [`${precision} ${CARDS_GB[at]}`, each])) }))
      }
    })()
    return () => {
      gone = true
    }
  }, [model])

  if (Object.values(cells).length && Object.values(cells).every((each) => each === null)) return null
  return (
    <div>
      <p class="fine">
        How many usual requests at once (a picture and 512 tokens in, 1,024 out) fit with {model.split('/').pop()}, by the memory of
        the card:
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Requests at once, by the memory of the card">
      <table class="sizes">
        <thead>
          <tr>
            <th scope="col">Weights</th>
            {CARDS_GB.map((gb) => (
              <th scope="col" key={gb}>
                {gb} GB
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {(Object.keys(PRECISIONS) as Precision[]).map((precision) => (
            <tr key={precision}>
              <th scope="row">{PRECISIONS[precision]}</th>
              {CARDS_GB.map((gb) => (
                <td key={gb}>
                  <Cell fit={cells[`${precision} ${gb}`]} choose={() => choose(`${gb} GB`, precision)} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      </div>
    </div>
  )
}

function Cell({ fit, choose }: { fit: Fit | null | undefined; choose: () => void }) {
  if (!fit) return <span class="muted">{fit === null ? '–' : '…'}</span>
  const fits = fit.largest_concurrency > 0
  return (
    <button type="button" class={fits ? 'verdict yes' : 'verdict no'} title={fit.summary} onClick={choose}>
      {fits ? fit.largest_concurrency.toLocaleString() : 'no'}
    </button>
  )
}

const WORDS: Record<string, string> = { tables: 'tables, rounding', buffers: 'input buffers', work: 'work space', graphs: 'CUDA graphs', outside: 'outside PyTorch' }

function Answer({ answer }: { answer: Fit }) {
  const fits = answer.verdict.startsWith('fits')
  const terms = [...answer.memory, ...(answer.kv_cache && answer.kv_cache.gib > 0 ? [{ term: 'KV cache', gib: answer.kv_cache.gib, certainty: '', formula: `${answer.kv_cache.tokens.toLocaleString()} tokens: the rest` }] : [])]
  const all = Math.max(answer.gpu.usable_gib * answer.gpu.count, ...[terms.reduce((sum, each) => sum + each.gib, 0)])
  return (
    <div class="stack" aria-live="polite">
      <p>
        <strong class={fits ? 'yes' : 'no'}>{title(answer.verdict)}.</strong> {answer.summary}.{answer.missing && ` ${answer.missing}.`}
      </p>
      <div class="bar-of-memory" aria-hidden="true">
        {terms.map((each, at) => (
          <i key={each.term} class={`part-${at}`} style={{ width: `${(each.gib / all) * 100}%` }} title={`${each.term}: ${each.gib.toFixed(2)} GiB`} />
        ))}
      </div>
      <dl class="facts">
        {terms.map((each, at) => (
          <>
            <dt>
              <i class={`dot part-${at}`} /> {title(WORDS[each.term] ?? each.term)}
            </dt>
            <dd>
              {each.gib.toFixed(2)} GiB <span class="muted">{each.formula}</span>
            </dd>
          </>
        ))}
        <dt>At once</dt>
        <dd>{answer.largest_concurrency.toLocaleString()} usual requests</dd>
        <dt>Largest context</dt>
        <dd>{answer.largest_context.toLocaleString()} tokens</dd>
        {answer.speed && (
          <>
            <dt>How fast</dt>
            <dd>
              first token after {(answer.speed.first_token_s * 1000).toFixed(0)} ms, {answer.speed.answer_tokens_per_s.toFixed(0)} tokens a
              second in all <span class="muted">{answer.speed.certainty}</span>
            </dd>
          </>
        )}
      </dl>
      {answer.alternatives.length > 0 && (
        <div>
          <p>It fits if</p>
          <ul>
            {answer.alternatives.map((each) => (
              <li key={each.fits_if}>{each.fits_if}</li>
            ))}
          </ul>
        </div>
      )}
      {fits && answer.launch && (
        <details>
          <summary>How to start it</summary>
          <pre class="raw" tabIndex={0}>
            {answer.launch.server}
          </pre>
          <Copy text={answer.launch.server} what="command" />
        </details>
      )}
    </div>
  )
}
