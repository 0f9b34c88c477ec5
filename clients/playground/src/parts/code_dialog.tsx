import { useState } from 'preact/hooks'
import type { Written } from '../code'
import { Copy } from './copy'
import { Dialog } from './dialog'
import { Icon } from './icons'
import { Tabs } from './tabs'

/** The button that shows the request as curl and as Python. */
export function CodeButton({ written, disabled = false }: { written: () => Written; disabled?: boolean }) {
  const [open, setOpen] = useState(false)
  return (
    <>
      <button type="button" class="quiet" disabled={disabled} onClick={() => setOpen(true)}>
        <Icon name="code" size={16} /> Code
      </button>
      {open && <CodeDialog written={written()} close={() => setOpen(false)} />}
    </>
  )
}

function CodeDialog({ written, close }: { written: Written; close: () => void }) {
  const [shown, show] = useState<keyof Written>('curl')
  return (
    <Dialog title="This request as code" close={close} wide>
      <Tabs label="Language" names={['curl', 'python']} shown={shown} show={show} titles={{ curl: 'curl', python: 'Python' }}>
        <pre class="raw tall" tabIndex={0}>
          {written[shown]}
        </pre>
        <p class="row end">
          <Copy text={written[shown]} what="code" />
        </p>
      </Tabs>
    </Dialog>
  )
}
