import { isRecord, type TaskCard } from '../api'
import { isExtent, isPoint, type Extent, type Point } from '../geometry'
import { Icon } from '../parts/icons'
import { Stage } from '../parts/stage'
import type { Item } from '../run'
import { TaskView, useBench } from './task_view'

/** Where an agent would click, and what it would do there. Nothing is done. */
export function Agent({ task, active }: { task: TaskCard; active: boolean }) {
  const bench = useBench(task, active)
  const { run, values } = bench
  const result = run.result
  const action = isRecord(result?.action) ? result.action : undefined
  const seen = (isRecord(result?.action_in_screenshot) ? result.action_in_screenshot : run.items[0]?.action) as Item | undefined
  const history = (values.history as unknown[] | undefined) ?? []
  const extent = isExtent(result?.screenshot) ? result.screenshot : undefined
  const words = action ? inWords(action) : ''

  return (
    <TaskView
      bench={bench}
      verb="Choose an action"
      first={['task', 'environment']}
      hidden={['format', 'history']}
      hints={{ task: 'Click the "Login" button.' }}
      ready={Boolean(values.task)}
      summary={words}
      stage={
        <Stage
          url={bench.url}
          alt={bench.file?.name ?? ''}
          extent={extent}
          marks={[]}
          hovered={undefined}
          hover={bench.hover}
          busy={bench.runner.busy}
        >
          {seen && extent && <Target action={seen} extent={extent} />}
        </Stage>
      }
    >
      {action && (
        <div class="card results" data-state={run.state}>
          <header>
            <h2>{words}</h2>
          </header>
          {Boolean(result?.needs_confirmation) && (
            <p class="confirm">
              <Icon name="warning" size={16} /> A person should allow this first: {String(result?.confirmation_reason)}.
            </p>
          )}
          {typeof result?.thought === 'string' && (
            <p>
              <span class="muted">Thought</span> {result.thought}
            </p>
          )}
          {typeof result?.conclusion === 'string' && (
            <p>
              <span class="muted">Conclusion</span> {result.conclusion}
            </p>
          )}
          <dl class="facts">
            {Object.entries(action).map(([name, value]) => (
              <>
                <dt>{name}</dt>
                <dd>
                  <code>{typeof value === 'string' ? value : JSON.stringify(value)}</code>
                </dd>
              </>
            ))}
          </dl>
          <p class="row">
            <button type="button" class="quiet" onClick={() => bench.change({ ...values, history: [...history, action] })}>
              <Icon name="plus" size={16} /> Count it as done
            </button>
            <span class="fine">Then give the next screenshot, and ask again.</span>
          </p>
        </div>
      )}
      {history.length > 0 && (
        <div class="card">
          <header>
            <h2>Done so far</h2>
            <button type="button" class="quiet" onClick={() => bench.change({ ...values, history: [] })}>
              Forget
            </button>
          </header>
          <ol class="steps">
            {history.map((step) => (
              <li>{isRecord(step) ? inWords(step) : String(step)}</li>
            ))}
          </ol>
        </div>
      )}
    </TaskView>
  )
}

const VERBS: Record<string, string> = {
  left_click: 'Click', click: 'Tap', right_click: 'Right-click', middle_click: 'Middle-click', double_click: 'Double-click',
  long_press: 'Press and hold', mouse_move: 'Move the pointer', left_click_drag: 'Drag', swipe: 'Swipe',
} // prettier-ignore

/** "Click at 412, 230". */
function inWords(action: Item): string {
  const name = String(action.action)
  const at = isPoint(action.coordinate) ? action.coordinate.map(Math.round).join(', ') : undefined
  const to = isPoint(action.coordinate2) ? action.coordinate2.map(Math.round).join(', ') : undefined
  if (name === 'type') return `Type “${String(action.text)}”`
  if (name === 'answer') return `Answer “${String(action.text)}”`
  if (name === 'open') return `Open ${String(action.text)}`
  if (name === 'key') return `Press ${Array.isArray(action.keys) ? action.keys.join(' + ') : String(action.text ?? action.keys)}`
  if (name === 'system_button') return `Press ${String(action.button)}`
  if (name === 'wait') return `Wait ${String(action.time)} s`
  if (name === 'terminate') return action.status === 'success' ? 'Stop: the task is done' : 'Stop: the task cannot be done'
  if (name === 'scroll') return `Scroll ${Number(action.pixels) < 0 ? 'down' : 'up'} by ${Math.abs(Number(action.pixels))}`
  const verb = VERBS[name] ?? name
  if (!at) return `${verb} where the pointer is`
  if (to) return `${verb} from ${at} to ${to}`
  return /^(Move|Drag)/.test(verb) ? `${verb} to ${at}` : `${verb} at ${at}`
}

/** The place on the screen; an arrow for what goes somewhere. */
function Target({ action, extent }: { action: Item; extent: Extent }) {
  if (!isPoint(action.coordinate)) return null
  const from = action.coordinate
  const to = isPoint(action.coordinate2) ? action.coordinate2 : undefined
  const at = ([x, y]: Point) => ({ left: `${(x / extent.width) * 100}%`, top: `${(y / extent.height) * 100}%` })
  return (
    <div class="marks" aria-hidden="true">
      {to && (
        <svg class="arrow" viewBox={`0 0 ${extent.width} ${extent.height}`} preserveAspectRatio="none">
          <line x1={from[0]} y1={from[1]} x2={to[0]} y2={to[1]} vector-effect="non-scaling-stroke" />
        </svg>
      )}
      <i class="target" data-target style={at(from)} />
      {to && <i class="target end" style={at(to)} />}
    </div>
  )
}
