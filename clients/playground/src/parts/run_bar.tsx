import type { Written } from '../code'
import type { Runner } from '../run'
import { CodeButton } from './code_dialog'
import { Icon } from './icons'

interface Props {
  runner: Runner
  start: () => void
  ready: boolean
  verb: string
  written: () => Written
}

/** The one button that matters, which is Stop while it runs. */
export function RunBar({ runner, start, ready, verb, written }: Props) {
  return (
    <div class="run-bar">
      {runner.busy ? (
        <button type="button" class="primary stop" onClick={runner.stop}>
          <Icon name="stop" size={16} /> Stop
        </button>
      ) : (
        <button type="submit" class="primary" disabled={!ready} onClick={start}>
          <Icon name="play" size={16} /> {verb}
        </button>
      )}
      <CodeButton written={written} disabled={!ready} />
    </div>
  )
}
