import { kindOf, type Kind } from './files'

export const KINDS: Kind[] = ['image', 'video']

export interface Attached {
  file: File
  kind: Kind
  /** For showing here. */
  url: string
  /** For sending. */
  uri: string
}

export interface Message {
  role: 'user' | 'assistant'
  text: string
  attached: Attached[]
  state?: 'waiting' | 'streaming' | 'done' | 'stopped'
  /** What it cost. */
  cost?: string
  /** Sizes at which the model saw the pictures. */
  seen?: string
}

export interface Options {
  model: string
  system: string
  temperature: string
  maxTokens: string
}

export const typeOf = (file: File) => file.type || 'application/octet-stream'

/** A file as it is shown here and as it is sent. */
export async function read(file: File): Promise<Attached> {
  const uri = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(reader.result as string)
    reader.onerror = () => reject(reader.error ?? new Error('the file cannot be read'))
    reader.readAsDataURL(file)
  })
  return { file, kind: kindOf(file, KINDS)!, url: URL.createObjectURL(file), uri }
}

/** The request as OpenAI's API has it. */
export function bodyOf(messages: Message[], options: Options, model: string): Record<string, unknown> {
  const system = options.system.trim() ? [{ role: 'system', content: options.system.trim() }] : []
  return {
    model,
    messages: [...system, ...messages.filter((message) => message.text || message.attached.length).map(contentOf)],
    ...(options.temperature !== '' && { temperature: Number(options.temperature) }),
    ...(options.maxTokens !== '' && { max_tokens: Number(options.maxTokens) }),
    stream: true,
    stream_options: { include_usage: true },
  }
}

function contentOf({ role, text, attached }: Message) {
  if (!attached.length) return { role, content: text }
  const media = attached.map(({ kind, uri }) =>
    kind === 'video' ? { type: 'video_url', video_url: { url: uri } } : { type: 'image_url', image_url: { url: uri } },
  )
  return { role, content: [...media, ...(text ? [{ type: 'text', text }] : [])] }
}

export function costOf(startedMs: number, firstMs: number | undefined, endedMs: number, usage: Record<string, unknown> | undefined): string {
  const parts = [`${((endedMs - startedMs) / 1000).toFixed(2)} s`]
  if (firstMs !== undefined) parts.push(`first after ${((firstMs - startedMs) / 1000).toFixed(2)} s`)
  const written = Number(usage?.completion_tokens)
  if (written) {
    parts.push(`${String(usage?.prompt_tokens)} tokens in, ${written} out`)
    const tookS = (endedMs - (firstMs ?? startedMs)) / 1000
    if (written > 1 && tookS > 0.05) parts.push(`${((written - 1) / tookS).toFixed(1)} tokens a second`)
  }
  return parts.join(' · ')
}
