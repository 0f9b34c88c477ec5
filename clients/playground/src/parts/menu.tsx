import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'

/** A button that opens a list of things to do. */
export function Menu({ label, entries }: { label: ComponentChildren; entries: [string, () => void][] }) {
  const [open, setOpen] = useState(false)
  const box = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)

  useLayoutEffect(() => {
    if (!open) return
    box.current?.querySelector<HTMLElement>('[role=menuitem]')?.focus()
    const outside = (event: PointerEvent) => !box.current?.contains(event.target as Node) && setOpen(false)
    window.addEventListener('pointerdown', outside)
    return () => window.removeEventListener('pointerdown', outside)
  }, [open])

  function onKeyDown(event: KeyboardEvent) {
    const all = [...(box.current?.querySelectorAll<HTMLElement>('[role=menuitem]') ?? [])]
    const at = all.indexOf(document.activeElement as HTMLElement)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key]
    if (event.key === 'Escape') {
      setOpen(false)
      button.current?.focus()
    } else if (to !== undefined && open) {
      event.preventDefault()
      all[(to + all.length) % all.length]?.focus()
    }
  }

  return (
    <div class="menu" ref={box} onKeyDown={onKeyDown}>
      <button
        type="button"
        class="quiet"
        ref={button}
        aria-haspopup="menu"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        {label}
      </button>
      {open && (
        <div role="menu" class="menu-list">
          {entries.map(([words, act]) => (
            <button
              type="button"
              role="menuitem"
              tabIndex={-1}
              key={words}
              onClick={() => {
                setOpen(false)
                button.current?.focus()
                act()
              }}
            >
              {words}
            </button>
          ))}
        </div>
      )}
    </div>
  )
}
