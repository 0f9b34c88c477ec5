import { address, apiKey, type Fields } from './api'

/** A request as a person would write it. */
export interface Written {
  curl: string
  python: string
}

const shell = (text: string) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)
const python = (value: unknown, indent = 0): string => {
  const pad = ' '.repeat(indent + 4)
  const end = ' '.repeat(indent)
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (value instanceof Raw) return value.text
  if (Array.isArray(value)) return value.length ? `[\n${value.map((each) => `${pad}${python(each, indent + 4)},\n`).join('')}${end}]` : '[]'
  if (typeof value === 'object') {
    const entries = Object.entries(value as object)
    return `{\n${entries.map(([name, each]) => `${pad}${JSON.stringify(name)}: ${python(each, indent + 4)},\n`).join('')}${end}}`
  }
  return JSON.stringify(value)
}

class Raw {
  constructor(readonly text: string) {}
}

/** A task's request; files are named, not shown. */
export function taskCode(path: string, fields: Fields): Written {
  const url = address(path)
  const lines = [`curl -sS ${shell(url)}`]
  if (apiKey.get()) lines.push('  -H "Authorization: Bearer $QVL_API_KEY"')
  const files: [string, unknown][] = []
  const data: [string, unknown][] = []
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null || value === '') continue
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each instanceof File) lines.push(`  -F ${shell(`${name}=@${each.name}`)}`)
      else lines.push(`  --form-string ${shell(`${name}=${typeof each === 'object' ? JSON.stringify(each) : String(each)}`)}`)
    }
    if (value instanceof File) files.push([name, new Raw(`open(${JSON.stringify(value.name)}, "rb")`)])
    else if (Array.isArray(value)) data.push([name, value.map((each: unknown) => (typeof each === 'object' ? JSON.stringify(each) : each))])
    else data.push([name, typeof value === 'object' ? JSON.stringify(value) : value])
  }
  const headers = apiKey.get() ? '    headers={"Authorization": f"Bearer {os.environ[\'QVL_API_KEY\']}"},\n' : ''
  return {
    curl: lines.join(' \\\n'),
    python:
      `${headers ? 'import os\n\n' : ''}import httpx2  # or httpx, or requests\n\n` +
      `answer = httpx2.post(\n    ${JSON.stringify(url)},\n${headers}` +
      `    files=${python(Object.fromEntries(files), 4)},\n` +
      `    data=${python(Object.fromEntries(data), 4)},\n    timeout=120,\n)\nanswer.raise_for_status()\nprint(answer.json())\n`,
  }
}

/** What stands for a file's data: URI in a chat request: its name and type. */
export interface Placeholder {
  uri: string
  name: string
  type: string
}

/** A chat request; `files` are the data: URIs in it, and the files that they were made from. */
export function chatCode(body: Fields, files: Placeholder[]): Written {
  const base = address('/v1')
  const key = apiKey.get()
  return {
    curl:
      `curl -sS${body.stream ? 'N' : ''} ${shell(`${base}/chat/completions`)} \\\n` +
      (key ? '  -H "Authorization: Bearer $QVL_API_KEY" \\\n' : '') +
      `  -H 'Content-Type: application/json' -d @- <<JSON\n${heredoc(body, files)}\nJSON`,
    python: chatPython(base, body, files, Boolean(key)),
  }
}

/** JSON within an unquoted here-document, in which the shell puts files' contents. */
function heredoc(body: Fields, files: Placeholder[]): string {
  const text = JSON.stringify(body, (_, value: unknown) => {
    const at = files.findIndex((file) => file.uri === value)
    return at < 0 ? value : `\u0000${at}\u0000`
  }, 2)
  const safe = text.replace(/[\\$`]/g, '\\$&')
  return safe.replace(/\\\\u0000(\d+)\\\\u0000/g, (_, at: string) => {
    const file = files[Number(at)]!
    return `data:${file.type};base64,$(base64 < ${shell(file.name)} | tr -d '\\n')`
  })
}

function chatPython(base: string, body: Fields, files: Placeholder[], key: boolean): string {
  const filled = JSON.parse(JSON.stringify(body), (_, value: unknown) => {
    const file = files.find((each) => each.uri === value)
    return file ? new Raw(`data_uri(${JSON.stringify(file.name)}, ${JSON.stringify(file.type)})`) : value
  }) as Fields
  const lines = Object.entries(filled).map(([name, value]) => `    ${name}=${python(value, 4)},\n`)
  const reader = files.length
    ? 'def data_uri(path: str, kind: str) -> str:\n    with open(path, "rb") as file:\n' +
      '        return f"data:{kind};base64,{base64.b64encode(file.read()).decode()}"\n\n\n'
    : ''
  const imports = [files.length ? 'import base64' : '', key ? 'import os' : ''].filter(Boolean)
  return (
    `${imports.length ? `${imports.join('\n')}\n\n` : ''}from openai import OpenAI\n\n\n${reader}` +
    `client = OpenAI(base_url=${JSON.stringify(base)}, api_key=${key ? 'os.environ["QVL_API_KEY"]' : '"none"'})\n` +
    `stream = client.chat.completions.create(\n${lines.join('')})\n` +
    'for chunk in stream:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)\nprint()\n'
  )
}
