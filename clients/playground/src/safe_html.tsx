import { h, type ComponentChild } from 'preact'

// What a model wrote is never trusted as HTML. It is parsed into a document that runs nothing and loads nothing; of
// that, only the elements and attributes named here are made anew. The one policy for parsing is made here, and the
// page's Content-Security-Policy lets no other be made.

const KEPT = new Set(
  ('address article aside b blockquote body br caption code col colgroup dd div dl dt em figcaption figure footer h1 h2 ' +
    'h3 h4 h5 h6 header hr i li main ol p pre s section small span strong sub sup table tbody td tfoot th thead tr u ul').split(' '),
)
/** Left out with all that is in them. */
const DROPPED = new Set('applet base embed frame frameset head iframe link math meta noscript object script style svg template title'.split(' '))
const ATTRIBUTES: Record<string, RegExp> = { colspan: /^\d{1,3}$/, rowspan: /^\d{1,3}$/, scope: /^(row|col)$/, start: /^\d{1,6}$/ }

interface Policy {
  createHTML(text: string): string
}
const factory = (window as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }).trustedTypes
const policy: Policy = factory?.createPolicy('inert', { createHTML: (text) => text }) ?? { createHTML: (text) => text }

const parsed = (html: string) => new DOMParser().parseFromString(policy.createHTML(html), 'text/html').body

/** The same words and tables, made of elements that can do nothing. */
export function safeNodes(html: string): ComponentChild[] {
  return [...parsed(html).childNodes].map(copied)
}

function copied(node: Node): ComponentChild {
  if (node.nodeType === Node.TEXT_NODE) return node.nodeValue
  if (!(node instanceof Element)) return null
  const name = node.localName
  if (DROPPED.has(name)) return null
  const children = [...node.childNodes].map(copied)
  if (name === 'img') return <span class="figure">{node.getAttribute('alt') || 'Figure'}</span>
  if (!KEPT.has(name)) return <span>{children}</span>
  return h(name === 'body' ? 'div' : name, attributes(node), ...children)
}

function attributes(node: Element): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const { name, value } of node.attributes) if (ATTRIBUTES[name]?.test(value)) kept[name] = value
  return kept
}

/** A whole page for a sandboxed frame: cleaned as above, with the style sheet at `style` and nothing else. */
export function safePage(html: string, style: string): string {
  const clean = document.implementation.createHTMLDocument('Page')
  for (const node of parsed(html).childNodes) clean.body.append(...element(clean, node))
  const link = clean.createElement('link')
  link.rel = 'stylesheet'
  link.href = new URL(style, location.href).href
  clean.head.append(link)
  return policy.createHTML(`<!doctype html>${clean.documentElement.outerHTML}`)
}

function element(clean: Document, node: Node): Node[] {
  if (node.nodeType === Node.TEXT_NODE) return [clean.createTextNode(node.nodeValue ?? '')]
  if (!(node instanceof Element) || DROPPED.has(node.localName)) return []
  if (node.localName === 'img') {
    const figure = clean.createElement('span')
    figure.className = 'figure'
    figure.textContent = node.getAttribute('alt') || 'Figure'
    return [figure]
  }
  const copy = clean.createElement(KEPT.has(node.localName) && node.localName !== 'body' ? node.localName : 'div')
  for (const [name, value] of Object.entries(attributes(node))) copy.setAttribute(name, value)
  for (const child of node.childNodes) copy.append(...element(clean, child))
  return [copy]
}
