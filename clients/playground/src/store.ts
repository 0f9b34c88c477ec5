import { useEffect, useState } from 'preact/hooks'

/** A value that several parts of the page look at. */
export interface Store<T> {
  get(): T
  set(value: T): void
  /** The value, in a component that is drawn again when it changes. */
  use(): T
}

export function store<T>(first: T): Store<T> {
  let value = first
  const listeners = new Set<(value: T) => void>()
  return {
    get: () => value,
    set(next) {
      value = next
      for (const listener of [...listeners]) listener(next)
    },
    use() {
      const [seen, see] = useState(value)
      useEffect(() => {
        const listener = (next: T) => see(() => next)
        listener(value)
        listeners.add(listener)
        return () => void listeners.delete(listener)
      }, [])
      return seen
    },
  }
}
