import { useState } from 'preact/hooks'
import { isRecord } from '../api'
import { Icon } from './icons'
import { Segments } from './segments'

const TYPES = { string: 'Text', number: 'Number', integer: 'Whole number', boolean: 'Yes or no' } as const
type Type = keyof typeof TYPES | 'string[]'
const TITLES: Record<Type, string> = { ...TYPES, 'string[]': 'List of texts' }

interface Row {
  name: string
  type: Type
}

interface Props {
  id: string
  name: string
  value: unknown
  set: (value: unknown) => void
}

/** A JSON Schema as a list of names and types; as JSON for whoever wants more. */
export function SchemaEditor({ id, name, value, set }: Props) {
  const rows = rowsOf(value)
  const [raw, setRaw] = useState(false)
  const asJson = raw || !rows
  const text = typeof value === 'string' ? value : value ? JSON.stringify(value, null, 2) : ''
  const change = (changed: Row[]) => set(changed.length ? schemaOf(changed) : null)

  return (
    <div class="schema">
      <Segments
        label="Written as"
        names={['fields', 'json']}
        titles={{ fields: 'Fields', json: 'JSON Schema' }}
        chosen={asJson ? 'json' : 'fields'}
        choose={(form) => {
          if (form === 'fields' && typeof value === 'string') set(parsed(value))
          setRaw(form === 'json')
        }}
      />
      {asJson ? (
        <textarea
          id={id}
          name={name}
          class="code"
          rows={9}
          spellcheck={false}
          value={text}
          onInput={(event) => set(event.currentTarget.value)}
        />
      ) : (
        <ul class="plain schema-rows">
          {rows.map((row, at) => (
            <li key={at} class="schema-row">
              <input
                type="text"
                id={at === 0 ? id : undefined}
                aria-label={`Name of field ${at + 1}`}
                value={row.name}
                onInput={(event) => change(rows.with(at, { ...row, name: event.currentTarget.value }))}
              />
              <select
                aria-label={`Type of field ${at + 1}`}
                value={row.type}
                onChange={(event) => change(rows.with(at, { ...row, type: event.currentTarget.value as Type }))}
              >
                {Object.entries(TITLES).map(([type, words]) => (
                  <option key={type} value={type}>
                    {words}
                  </option>
                ))}
              </select>
              <button type="button" class="bare" aria-label={`Remove ${row.name || 'field'}`} onClick={() => change(rows.toSpliced(at, 1))}>
                <Icon name="close" size={16} />
              </button>
            </li>
          ))}
          <li>
            <button type="button" class="quiet" id={rows.length ? undefined : id} onClick={() => change([...rows, { name: free(rows), type: 'string' }])}>
              <Icon name="plus" size={16} /> Add a field
            </button>
          </li>
        </ul>
      )}
    </div>
  )
}

/** The first of `field`, `field_2`, ... that is not taken. */
function free(rows: Row[]): string {
  const taken = new Set(rows.map((row) => row.name))
  for (let at = 1; ; at += 1) {
    const name = at === 1 ? 'field' : `field_${at}`
    if (!taken.has(name)) return name
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text // stays JSON, which says what is wrong when it is sent
  }
}

/** The fields of a flat schema; undefined for one that is more than that. */
function rowsOf(value: unknown): Row[] | undefined {
  if (value === null || value === undefined || value === '') return []
  if (!isRecord(value) || value.type !== 'object' || !isRecord(value.properties)) return undefined
  if (Object.keys(value).some((key) => !['type', 'properties', 'required', 'additionalProperties'].includes(key))) return undefined
  const rows = Object.entries(value.properties).map(([name, property]) => ({ name, type: typeOf(property) }))
  return rows.every((row): row is Row => row.type !== undefined) ? rows : undefined
}

function typeOf(property: unknown): Type | undefined {
  if (!isRecord(property) || typeof property.type !== 'string') return undefined
  if (Object.keys(property).length === 1) return property.type in TYPES ? (property.type as Type) : undefined
  const isList = property.type === 'array' && isRecord(property.items) && property.items.type === 'string'
  return isList && Object.keys(property).length === 2 ? 'string[]' : undefined
}

function schemaOf(rows: Row[]): object {
  const property = ({ type }: Row) => (type === 'string[]' ? { type: 'array', items: { type: 'string' } } : { type })
  return {
    type: 'object',
    properties: Object.fromEntries(rows.map((row) => [row.name, property(row)])),
    required: rows.map((row) => row.name),
  }
}
