import clip from '../samples/clip.mp4?url'
import clipThumbnail from '../samples/clip.thumbnail.webp?url'
import page from '../samples/page.png?url'
import pageThumbnail from '../samples/page.thumbnail.webp?url'
import pages from '../samples/pages.pdf?url'
import pagesThumbnail from '../samples/pages.thumbnail.webp?url'
import screen from '../samples/screen.png?url'
import screenThumbnail from '../samples/screen.thumbnail.webp?url'
import shapes from '../samples/shapes.png?url'
import shapesThumbnail from '../samples/shapes.thumbnail.webp?url'
import stars from '../samples/stars.png?url'
import starsThumbnail from '../samples/stars.thumbnail.webp?url'
import tall from '../samples/tall.png?url'
import tallThumbnail from '../samples/tall.thumbnail.webp?url'
import type { Kind } from './files'

/** Something to try: a file that samples/make.py made, and what to ask about it. */
export interface Sample {
  id: string
  title: string
  url: string
  thumbnail: string
  fields: Record<string, unknown>
}

const file = (name: string, url: string, thumbnail: string, kind: Kind) => ({ name, url, thumbnail, kind })
const FILES = {
  shapes: file('shapes.png', shapes, shapesThumbnail, 'image'),
  stars: file('stars.png', stars, starsThumbnail, 'image'),
  tall: file('tall.png', tall, tallThumbnail, 'image'),
  page: file('page.png', page, pageThumbnail, 'image'),
  pages: file('pages.pdf', pages, pagesThumbnail, 'document'),
  clip: file('clip.mp4', clip, clipThumbnail, 'video'),
  screen: file('screen.png', screen, screenThumbnail, 'image'),
}

const sample = (name: keyof typeof FILES, title: string, fields: Sample['fields'] = {}): Sample => ({
  id: name,
  title,
  url: FILES[name].url,
  thumbnail: FILES[name].thumbnail,
  fields,
})

const BILL_SCHEMA = {
  type: 'object',
  properties: { total: { type: 'number' }, date: { type: 'string' }, code: { type: 'string' } },
  required: ['total', 'date', 'code'],
}

const SAMPLES: Record<string, Sample[]> = {
  chat: [
    sample('shapes', 'A picture', { prompt: 'What is in this picture?' }),
    sample('clip', 'A clip', { prompt: 'What happens in this clip?' }),
    sample('page', 'A page', { prompt: 'What is the total?' }),
  ],
  detect: [
    sample('shapes', 'Shapes', { labels: ['star', 'circle', 'square', 'triangle'] }),
    sample('stars', 'Stars by colour', { labels: ['star'], sub_labels: ['red', 'green', 'orange'] }),
    sample('tall', 'By description', { prompt: 'the yellow circle' }),
  ],
  'parse-document': [sample('pages', 'Three pages'), sample('page', 'One page')],
  'localize-events': [sample('clip', 'Everything that happens'), { ...sample('clip', 'One thing', { query: 'a red triangle' }), id: 'clip-query' }],
  act: [sample('screen', 'Six buttons', { task: 'Click the "Login" button.' })],
  caption: [sample('shapes', 'Shapes'), sample('clip', 'A clip')],
  extract: [sample('page', 'Three fields', { schema: BILL_SCHEMA, evidence: true })],
  'read-text': [sample('page', 'A page', { level: 'line' }), sample('screen', 'A screen', { level: 'line' })],
}
/** For tasks that this page does not know yet. */
const BY_KIND: Record<Kind, Sample[]> = {
  image: [sample('shapes', 'Shapes'), sample('page', 'A page')],
  document: [sample('pages', 'Three pages')],
  video: [sample('clip', 'A clip')],
}

export function samplesFor(task: string, kinds: readonly Kind[]): Sample[] {
  return SAMPLES[task] ?? kinds.flatMap((kind) => BY_KIND[kind])
}

/** A sample as the file that a person would have dropped. */
export async function fileOf(picked: Sample): Promise<File> {
  const found = Object.values(FILES).find((each) => each.url === picked.url)!
  const blob = await (await fetch(picked.url)).blob()
  return new File([blob], found.name, { type: blob.type })
}
