import type { ComponentChild } from 'preact'

// The part of Markdown that models write, drawn as elements: never as HTML. Links are shown as words, because nothing
// that a model wrote should lead away from this machine by a click.

const FENCE = /^ {0,3}(```|~~~)\s*([\w+-]*)/
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/
const BULLET = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/

export function Markdown({ text }: { text: string }) {
  return <div class="prose">{blocks(text.replaceAll('\r\n', '\n').split('\n'))}</div>
}

function blocks(lines: string[]): ComponentChild[] {
  const found: ComponentChild[] = []
  let at = 0
  /** Lines from here on as long as `goes` says so. */
  const take = (goes: (line: string) => boolean): string[] => {
    const first = at
    while (at < lines.length && goes(lines[at]!)) at += 1
    return lines.slice(first, at)
  }
  while (at < lines.length) {
    const line = lines[at]!
    const fence = FENCE.exec(line)
    const heading = HEADING.exec(line)
    if (!line.trim()) at += 1
    else if (fence) {
      at += 1
      const code = take((each) => !each.trim().startsWith(fence[1]!))
      at += 1
      found.push(<pre tabIndex={0}><code>{code.join('\n')}</code></pre>)
    } else if (heading) {
      at += 1
      const Level = `h${Math.min(6, heading[1]!.length + 2)}` as 'h3'
      found.push(<Level>{inline(heading[2]!)}</Level>)
    } else if (RULE.test(line)) {
      at += 1
      found.push(<hr />)
    } else if (line.startsWith('>')) {
      found.push(<blockquote>{blocks(take((each) => each.startsWith('>')).map((each) => each.replace(/^> ?/, '')))}</blockquote>)
    } else if (BULLET.test(line)) found.push(list(take((each) => BULLET.test(each) || /^\s{2,}\S/.test(each))))
    else if (line.includes('|') && TABLE_RULE.test(lines[at + 1] ?? '')) {
      const [head, , ...rows] = take((each) => each.includes('|'))
      found.push(table(head!, rows))
    } else {
      const paragraph = [lines[at++]!, ...take((each) => Boolean(each.trim()) && !starts(each))]
      found.push(<p>{inline(paragraph.join('\n'))}</p>)
    }
  }
  return found
}

const starts = (line: string) => FENCE.test(line) || HEADING.test(line) || BULLET.test(line) || line.startsWith('>') || RULE.test(line)

function list(lines: string[]): ComponentChild {
  const first = BULLET.exec(lines[0]!)!
  const depth = first[1]!.length
  const items: string[][] = []
  for (const line of lines) {
    const bullet = BULLET.exec(line)
    if (bullet && bullet[1]!.length <= depth) items.push([bullet[3]!])
    else items.at(-1)!.push(line.slice(depth + 2))
  }
  const entries = items.map(([head, ...rest]) => (
    <li>
      {inline(head!)}
      {rest.length > 0 && blocks(rest)}
    </li>
  ))
  return /\d/.test(first[2]!) ? <ol start={parseInt(first[2]!)}>{entries}</ol> : <ul>{entries}</ul>
}

const cells = (line: string) => line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim())

function table(head: string, rows: string[]): ComponentChild {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>{cells(head).map((cell) => <th scope="col">{inline(cell)}</th>)}</tr>
        </thead>
        <tbody>{rows.map((row) => <tr>{cells(row).map((cell) => <td>{inline(cell)}</td>)}</tr>)}</tbody>
      </table>
    </div>
  )
}

const INLINE = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\*\*([^*\n]+(?:\*[^*\n]+)*)\*\*|(?<![\w*])\*([^*\s][^*\n]*)\*(?!\w)|!?\[([^\]\n]*)\]\(([^)\s]+)\)/g

function inline(text: string): ComponentChild[] {
  const found: ComponentChild[] = []
  let at = 0
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) found.push(text.slice(at, match.index))
    const [whole, , code, strong, emphasis, words, target] = match
    if (code !== undefined) found.push(<code>{code}</code>)
    else if (strong !== undefined) found.push(<strong>{inline(strong)}</strong>)
    else if (emphasis !== undefined) found.push(<em>{inline(emphasis)}</em>)
    else found.push(<span title={target}>{words || target}</span>)
    at = match.index + whole.length
  }
  if (at < text.length) found.push(text.slice(at))
  return found
}
