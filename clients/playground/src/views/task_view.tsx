import type { ComponentChildren } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Fields, TaskCard } from '../api'
import { taskCode } from '../code'
import { failureOf, type Failure } from '../failures'
import { kindOf, useObjectUrl, type Kind } from '../files'
import { announce } from '../parts/announce'
import { ErrorCard } from '../parts/error_card'
import { Form, type Values } from '../parts/form'
import { Intake } from '../parts/intake'
import { Notes } from '../parts/notes'
import { RunBar } from '../parts/run_bar'
import { useRun, type Run, type Runner } from '../run'
import { fileOf, samplesFor, type Sample } from '../samples'
import { models } from '../server'
import { BadField, fieldsOf, filled, type Field } from '../schema'

/** What every task's view works with: a file, the form's values, and the run. */
export interface Bench {
  task: TaskCard
  active: boolean
  kinds: Kind[]
  file: File | undefined
  url: string | undefined
  values: Values
  change: (values: Values) => void
  runner: Runner
  run: Run
  take: (file: File) => void
  pick: (sample: Sample) => void
  own: Field[]
  common: Field[]
  hovered: number | undefined
  hover: (id: number | undefined) => void
}

export function useBench(task: TaskCard, active: boolean): Bench {
  const [file, setFile] = useState<File>()
  const [values, change] = useState<Values>({})
  const [hovered, hover] = useState<number>()
  const runner = useRun()
  const { own, common } = useMemo(() => fieldsOf(task), [task])
  const take = (taken: File) => {
    runner.clear()
    hover(undefined)
    setFile(taken)
  }
  return {
    task,
    active,
    kinds: [...new Set(Object.values(task.inputs))],
    file,
    url: useObjectUrl(file),
    values,
    change,
    runner,
    run: runner.run,
    take,
    pick(sample) {
      change({ ...sample.fields })
      void fileOf(sample).then(take)
    },
    own,
    common,
    hovered,
    hover,
  }
}

/** The request's fields with the file under the input that takes it. Throws BadField. */
function fieldsFor(bench: Bench, extra: Fields): Fields {
  const { task, file, values } = bench
  const kind = file && kindOf(file, bench.kinds)
  const input = Object.entries(task.inputs).find(([, takes]) => takes === kind)?.[0]
  return { ...(file && input && { [input]: file }), ...filled([...bench.own, ...bench.common], values), ...(values.model ? { model: values.model } : {}), ...extra }
}

interface Props {
  bench: Bench
  verb: string
  /** Names of the fields that stand in the open; the others are among the options. All of the task's own if left out. */
  first?: string[]
  hints?: Record<string, string>
  /** Fields that are not shown. */
  hidden?: string[]
  /** Fields that the view sets by itself. */
  extra?: Fields
  ready?: boolean
  /** The picture, page or player. */
  stage: ComponentChildren
  /** Controls of the view's own, above the form. */
  controls?: ComponentChildren
  /** What came of it. */
  children: ComponentChildren
  /** What is said when it is done. */
  summary: string
}

/** A task's page: the file on one side, what is asked and answered on the other. */
export function TaskView({ bench, verb, first, hints = {}, hidden = [], extra = {}, ready = true, ...parts }: Props) {
  const { task, runner, run, file } = bench
  const [bad, setBad] = useState<Failure>()
  const own = bench.own.filter((field) => !hidden.includes(field.name))
  const open = first ? first.map((name) => own.find((field) => field.name === name)).filter((each) => each !== undefined) : own
  const options = [...own.filter((field) => !open.includes(field)), ...bench.common]
  const can = Boolean(file) && ready

  function start() {
    try {
      setBad(undefined)
      runner.start(task, fieldsFor(bench, extra))
      announce('Asking the model')
    } catch (thrown) {
      if (!(thrown instanceof BadField)) throw thrown
      setBad({ title: 'A field cannot be read', message: thrown.message, param: thrown.field })
    }
  }

  useEffect(() => {
    if (run.state === 'done') announce(`Done. ${parts.summary}`)
    if (run.state === 'stopped') announce('Stopped.')
  }, [run.state])

  const failure = bad ?? run.failure
  return (
    <div class={file ? 'task' : 'task empty'}>
      <section class="task-stage" aria-label="File">
        {file && parts.stage}
        <Intake
          kinds={bench.kinds}
          active={bench.active}
          file={file}
          take={bench.take}
          samples={samplesFor(task.id, bench.kinds)}
          pick={bench.pick}
        />
      </section>
      <section class="task-side" aria-label="Question and answer">
        <form
          class="card controls"
          onSubmit={(event) => {
            event.preventDefault()
            if (can && !runner.busy) start()
          }}
        >
          {parts.controls}
          <Form fields={open} values={bench.values} change={bench.change} hints={hints} />
          {options.length > 0 && (
            <details class="options">
              <summary>Options</summary>
              <div class="stack">
                <ModelChoice values={bench.values} change={bench.change} />
                <Form fields={options} values={bench.values} change={bench.change} />
              </div>
            </details>
          )}
          <RunBar runner={runner} start={() => undefined} ready={can} verb={verb} written={() => codeFor(bench, extra)} />
        </form>
        {failure && <ErrorCard failure={failure} {...(can && { again: start })} />}
        {run.state === 'sending' && <Waiting />}
        {parts.children}
        <Notes run={run} />
      </section>
    </div>
  )
}

/** Which model is asked, where several are served. */
function ModelChoice({ values, change }: { values: Values; change: (values: Values) => void }) {
  const cards = models.use()
  if (new Set(cards.map((card) => card.root ?? card.id)).size < 2) return null
  return (
    <label class="field">
      <span>Model</span>
      <select value={String(values.model ?? '')} onChange={(event) => change({ ...values, model: event.currentTarget.value })}>
        <option value="">The first one</option>
        {cards.map((card) => (
          <option key={card.id}>{card.id}</option>
        ))}
      </select>
    </label>
  )
}

function Waiting() {
  return (
    <div class="waiting" aria-hidden="true">
      <i />
      <i />
      <i />
    </div>
  )
}

function codeFor(bench: Bench, extra: Fields) {
  try {
    return taskCode(bench.task.path, fieldsFor(bench, extra))
  } catch (thrown) {
    const { message } = failureOf(thrown)
    return { curl: `# ${message}`, python: `# ${message}` }
  }
}
