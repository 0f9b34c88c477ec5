import type { Property, TaskCard } from './api'
import { tasks } from './server'

/** A field of a form, made from a property of a task's request. */
export interface Field {
  name: string
  label: string
  help: string
  kind: 'text' | 'long' | 'number' | 'flag' | 'choice' | 'choices' | 'list' | 'object' | 'schema'
  choices: string[]
  default: unknown
  min?: number
  max?: number
  whole: boolean
  required: boolean
}

const LONG_TEXT = 1000
const NAMES: Record<string, string> = { fps: 'Frames a second', max_tokens: 'Longest answer, in tokens' }

/** Fields that the page fills in by itself, or that would change what it draws. */
const OURS = ['stream', 'coordinate_space', 'render', 'model']

/** The fields of a task's form, media left out: those of its own, and those that every task has. */
export function fieldsOf(task: TaskCard): { own: Field[]; common: Field[] } {
  const everywhere = (name: string) => tasks.get().every((each) => name in each.request_schema.properties)
  const own: Field[] = []
  const common: Field[] = []
  for (const [name, property] of Object.entries(task.request_schema.properties)) {
    if (name in task.inputs || OURS.includes(name)) continue
    ;(everywhere(name) ? common : own).push(fieldOf(task, name, property))
  }
  return { own, common }
}

function fieldOf(task: TaskCard, name: string, property: Property): Field {
  const plain = resolved(task, property)
  const items = plain.items && resolved(task, plain.items)
  const values = plain.enum ?? items?.enum ?? []
  return {
    name,
    label: NAMES[name] ?? title(name),
    help: sentences(property.description ?? ''),
    kind: /JSON Schema/.test(property.description ?? '') ? 'schema' : kindOf(plain, items),
    choices: values.map(String),
    default: property.default ?? null,
    ...(plain.minimum !== undefined && { min: plain.minimum }),
    ...(plain.maximum !== undefined && { max: plain.maximum }),
    whole: plain.type === 'integer',
    required: task.request_schema.required?.includes(name) ?? false,
  }
}

/** The property without `null` and references. */
function resolved(task: TaskCard, property: Property): Property {
  const option = property.anyOf?.find((each) => each.type !== 'null') ?? property.allOf?.[0]
  if (option) return resolved(task, option)
  const name = property.$ref?.split('/').pop()
  return name ? resolved(task, task.request_schema.$defs?.[name] ?? {}) : property
}

function kindOf(plain: Property, items: Property | undefined): Field['kind'] {
  if (plain.enum) return 'choice'
  if (plain.type === 'array') return items?.enum ? 'choices' : items?.type === 'string' ? 'list' : 'object'
  if (plain.type === 'boolean') return 'flag'
  if (plain.type === 'integer' || plain.type === 'number') return 'number'
  if (plain.type === 'object') return 'object'
  return (plain.maxLength ?? 0) >= LONG_TEXT ? 'long' : 'text'
}

/** "json_schema" -> "Json schema". */
export function title(name: string): string {
  const words = name.replaceAll('_', ' ').replaceAll('-', ' ').replace(/ 2d$/, '')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** Docstrings as a person reads them: no backquotes, no line ends. */
function sentences(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('`', '').trim()
}

/** The fields that were filled in, ready to be sent; what is as by default is left out. Throws SyntaxError for bad JSON. */
export function filled(fields: Field[], values: Record<string, unknown>): Record<string, unknown> {
  const sent: Record<string, unknown> = {}
  for (const field of fields) {
    const value = values[field.name]
    if (value === undefined || value === null || value === '' || same(value, field.default)) continue
    if (Array.isArray(value) && !value.length) continue
    sent[field.name] = (field.kind === 'object' || field.kind === 'schema') && typeof value === 'string' ? parsed(field, value) : value
  }
  return sent
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

export class BadField extends Error {
  constructor(
    readonly field: string,
    message: string,
  ) {
    super(message)
  }
}

function parsed(field: Field, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (thrown) {
    throw new BadField(field.name, `${field.label} is not JSON: ${(thrown as Error).message}`)
  }
}
