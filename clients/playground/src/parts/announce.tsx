import { store } from '../store'

const said = store('')

/** Tells a screen reader what happened, without moving the focus. */
export function announce(words: string): void {
  said.set(words)
}

export function Announcer() {
  return (
    <div class="sr-only" role="status" aria-live="polite">
      {said.use()}
    </div>
  )
}
