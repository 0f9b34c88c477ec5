/** What went wrong, in words for a person, from OpenAI's error object. */
export interface Failure {
  title: string
  message: string
  /** What the reader can do about it. */
  advice?: string
  code?: string
  param?: string
  status?: number
  requestId?: string
  /** What the model wrote, where that could not be read. */
  raw?: string
}

export class RequestFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message)
  }
}

const TITLES: Record<string, [title: string, advice?: string]> = {
  invalid_api_key: ['This server asks for a key', 'Enter the key that its operator gave you.'],
  answer_unreadable: [
    'The model answered, but not in a form that can be read',
    'Try again, name what you look for differently, or take a larger model. Its own words are below.',
  ],
  action_impossible: ['The model chose something that cannot be done', 'Try again, or say the task differently.'],
  engine_failed: ['The engine broke off', 'Try again in a moment.'],
  engine_timeout: ['The engine was silent for too long', 'Try again, or ask for less.'],
  engine_unavailable: ['No engine is up', 'It may still be starting; the light beside the model turns green then.'],
  overloaded: ['The server is full', 'Try again in a moment.'],
  rate_limit_exceeded: ['That was more than your share', 'Wait a little.'],
  limit_exceeded: ['That is above a limit of this server'],
  request_too_large: ['The request is too large', 'Choose a smaller file.'],
  context_length_exceeded: ['That is more than the model can take in', 'Shorten it, or start a new chat.'],
  model_not_found: ['There is no such model here'],
  internal_error: ['The server made a mistake', 'Its log has the request id.'],
}

export function failureFrom(error: Record<string, unknown>, status?: number, requestId?: string, waitS?: number): Failure {
  const code = typeof error.code === 'string' ? error.code : undefined
  const [title, known] = TITLES[code ?? ''] ?? [titleOf(code, status)]
  const advice = waitS ? `Try again in ${waitS} ${waitS === 1 ? 'second' : 'seconds'}.` : known
  return {
    title,
    message: sentence(typeof error.message === 'string' ? error.message : `The server answered ${status ?? 'oddly'}.`),
    ...(advice && { advice }),
    ...(code && { code }),
    ...(typeof error.param === 'string' && { param: error.param }),
    ...(status && { status }),
    ...(requestId && { requestId }),
    ...(typeof error.raw === 'string' && { raw: error.raw }),
  }
}

/** The failure of a request that got no answer at all, or of a mistake of ours. */
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof RequestFailed) return thrown.failure
  if (thrown instanceof TypeError && /fetch|network|load failed/i.test(thrown.message)) {
    return {
      title: 'The server cannot be reached',
      message: 'It gave no answer: it may have stopped, or the connection broke.',
      advice: 'See whether it still runs, then try again.',
    }
  }
  return { title: 'This page made a mistake', message: thrown instanceof Error ? thrown.message : String(thrown) }
}

function titleOf(code: string | undefined, status: number | undefined): string {
  if (code?.endsWith('_too_large')) return `The ${code.split('_')[0]} is too large`
  if (code?.endsWith('_unreadable')) return `The ${code.split('_')[0]} cannot be read`
  if (code?.endsWith('_unsupported')) return `This kind of ${code.split('_')[0]} is not supported`
  return status && status < 500 ? 'The request was refused' : 'The request failed'
}

function sentence(words: string): string {
  const first = words.trim()
  return first.charAt(0).toUpperCase() + first.slice(1) + (/[.!?]$/.test(first) ? '' : '.')
}
