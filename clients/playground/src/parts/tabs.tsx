import type { ComponentChildren } from 'preact'
import { useId, useRef } from 'preact/hooks'

interface Props<Name extends string> {
  label: string
  names: readonly Name[]
  titles: Record<Name, string>
  shown: Name
  show: (name: Name) => void
  children: ComponentChildren
  /** What stands beside the tabs. */
  beside?: ComponentChildren
}

/** Tabs as the ARIA practices have them: arrows move, Home and End go to the ends. */
export function Tabs<Name extends string>(props: Props<Name>) {
  const id = useId()
  const list = useRef<HTMLDivElement>(null)
  function onKeyDown(event: KeyboardEvent) {
    const at = props.names.indexOf(props.shown)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: props.names.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    const place = (to + props.names.length) % props.names.length
    props.show(props.names[place]!)
    list.current?.querySelectorAll<HTMLElement>('[role=tab]')[place]?.focus()
  }
  return (
    <div class="tabs">
      <div class="tabs-bar">
        <div role="tablist" aria-label={props.label} ref={list} onKeyDown={onKeyDown}>
          {props.names.map((name) => (
            <button
              type="button"
              role="tab"
              key={name}
              id={`${id}-${name}`}
              aria-selected={name === props.shown}
              aria-controls={`${id}-panel`}
              tabIndex={name === props.shown ? 0 : -1}
              onClick={() => props.show(name)}
            >
              {props.titles[name]}
            </button>
          ))}
        </div>
        {props.beside}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${props.shown}`}>
        {props.children}
      </div>
    </div>
  )
}
