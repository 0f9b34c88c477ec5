import { useId, useState } from 'preact/hooks'
import type { Field } from '../schema'
import { title } from '../schema'
import { Icon } from './icons'
import { SchemaEditor } from './schema_editor'

export type Values = Record<string, unknown>

interface Props {
  fields: Field[]
  values: Values
  change: (values: Values) => void
  /** Fields with words of their own for this place. */
  hints?: Record<string, string>
}

/** Controls for the fields of a task, each by its kind. */
export function Form({ fields, values, change, hints = {} }: Props) {
  return (
    <>
      {fields.map((field) => (
        <Control
          key={field.name}
          field={field}
          value={values[field.name] ?? field.default}
          hint={hints[field.name]}
          set={(value) => change({ ...values, [field.name]: value })}
        />
      ))}
    </>
  )
}

interface ControlProps {
  field: Field
  value: unknown
  hint: string | undefined
  set: (value: unknown) => void
}

function Control({ field, value, hint, set }: ControlProps) {
  const id = useId()
  const about = { id, 'aria-describedby': field.help ? `${id}-help` : undefined, name: field.name }
  if (field.kind === 'flag') {
    return (
      <div class="field">
        <label class="switch">
          <input type="checkbox" {...about} checked={Boolean(value)} onChange={(e) => set(e.currentTarget.checked)} />
          <span>{field.label}</span>
        </label>
        <Help id={id} field={field} />
      </div>
    )
  }
  if (field.kind === 'choice' || field.kind === 'choices') {
    return <Choices field={field} value={value} set={set} />
  }
  return (
    <div class="field">
      <label for={id}>{field.label}</label>
      {field.kind === 'schema' && <SchemaEditor id={id} name={field.name} value={value} set={set} />}
      {field.kind === 'list' && <ListInput about={about} value={value} set={set} hint={hint} />}
      {field.kind === 'number' && (
        <input
          type="number"
          {...about}
          value={value === null || value === undefined ? '' : String(value)}
          min={field.min}
          max={field.max}
          step={field.whole ? 1 : 'any'}
          placeholder={hint ?? 'as the server has it'}
          onInput={(e) => set(e.currentTarget.value === '' ? null : e.currentTarget.valueAsNumber)}
        />
      )}
      {field.kind === 'text' && (
        <input type="text" {...about} value={String(value ?? '')} placeholder={hint} onInput={(e) => set(e.currentTarget.value)} />
      )}
      {(field.kind === 'long' || field.kind === 'object') && (
        <textarea
          {...about}
          rows={field.kind === 'object' ? 8 : 2}
          class={field.kind === 'object' ? 'code' : ''}
          spellcheck={field.kind !== 'object'}
          value={typeof value === 'string' ? value : value ? JSON.stringify(value, null, 2) : ''}
          placeholder={hint}
          onInput={(e) => set(e.currentTarget.value)}
        />
      )}
      <Help id={id} field={field} quiet={hint !== undefined} />
    </div>
  )
}

/** What a field is for; where its placeholder shows that by example, for screen readers alone. */
function Help({ id, field, quiet = false }: { id: string; field: Field; quiet?: boolean }) {
  return field.help ? (
    <p class={quiet ? 'sr-only' : 'help'} id={`${id}-help`}>
      {field.help}
    </p>
  ) : null
}

/** One or several of a few words, side by side. */
function Choices({ field, value, set }: Omit<ControlProps, 'hint'>) {
  const several = field.kind === 'choices'
  const chosen = several ? ((value as string[] | null) ?? []) : [String(value ?? '')]
  const id = useId()
  return (
    <fieldset class="field">
      <legend>{field.label}</legend>
      <div class="segments">
        {field.choices.map((choice) => (
          <label key={choice}>
            <input
              type={several ? 'checkbox' : 'radio'}
              name={id}
              value={choice}
              checked={chosen.includes(choice)}
              onChange={() =>
                set(!several ? choice : chosen.includes(choice) ? chosen.filter((c) => c !== choice) : [...chosen, choice])
              }
            />
            <span>{title(choice)}</span>
          </label>
        ))}
      </div>
      <Help id={id} field={field} />
    </fieldset>
  )
}

interface ListProps {
  about: { id: string; name: string; 'aria-describedby': string | undefined }
  value: unknown
  set: (value: string[]) => void
  hint: string | undefined
}

/** Words as chips: Enter or a comma ends one, Backspace takes the last one back. */
function ListInput({ about, value, set, hint }: ListProps) {
  const [typed, setTyped] = useState('')
  const words = (value as string[] | null) ?? []

  function add(text: string) {
    const added = text.split(',').map((word) => word.trim()).filter((word) => word && !words.includes(word))
    if (added.length) set([...words, ...added])
    setTyped('')
  }

  return (
    <div class="chips">
      {words.map((word) => (
        <button
          type="button"
          key={word}
          class="chip"
          aria-label={`Remove ${word}`}
          onClick={() => set(words.filter((each) => each !== word))}
        >
          {word} <Icon name="close" size={12} />
        </button>
      ))}
      <input
        type="text"
        {...about}
        value={typed}
        placeholder={words.length ? '' : hint}
        size={words.length ? 4 : 20}
        autocomplete="off"
        enterkeyhint="done"
        onInput={(event) => {
          const text = event.currentTarget.value
          if (text.endsWith(',')) add(text)
          else setTyped(text)
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && typed.trim()) {
            event.preventDefault()
            add(typed)
          } else if (event.key === 'Backspace' && !typed) set(words.slice(0, -1))
        }}
        onBlur={() => add(typed)}
      />
    </div>
  )
}
