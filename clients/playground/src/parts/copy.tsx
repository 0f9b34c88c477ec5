import { useState } from 'preact/hooks'
import { announce } from './announce'
import { Icon } from './icons'

const SHOWN_MS = 1600

/** Copies a text; says so for a moment. */
export function Copy({ text, what, small = false }: { text: string; what: string; small?: boolean }) {
  const [done, setDone] = useState(false)
  async function copy() {
    await copied(text)
    setDone(true)
    announce(`Copied the ${what}`)
    window.setTimeout(() => setDone(false), SHOWN_MS)
  }
  return (
    <button type="button" class={small ? 'bare' : 'quiet'} onClick={copy} aria-label={`Copy the ${what}`}>
      <Icon name={done ? 'check' : 'copy'} size={16} />
      {!small && (done ? 'Copied' : 'Copy')}
    </button>
  )
}

async function copied(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // plain http from another machine: browsers give no clipboard there, but still obey this
    const area = document.createElement('textarea')
    area.value = text
    document.body.append(area)
    area.select()
    document.execCommand('copy')
    area.remove()
  }
}
