import { useId } from 'preact/hooks'

interface Props<Name extends string> {
  label: string
  names: readonly Name[]
  titles: Record<Name, string>
  chosen: Name
  choose: (name: Name) => void
}

/** One of a few, side by side. */
export function Segments<Name extends string>({ label, names, titles, chosen, choose }: Props<Name>) {
  const id = useId()
  return (
    <fieldset class="field">
      <legend>{label}</legend>
      <div class="segments">
        {names.map((name) => (
          <label key={name}>
            <input type="radio" name={id} value={name} checked={name === chosen} onChange={() => choose(name)} />
            <span>{titles[name]}</span>
          </label>
        ))}
      </div>
    </fieldset>
  )
}
