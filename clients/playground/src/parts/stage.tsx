import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { inWords, placed, smallestAround, type Box, type Extent, type Point } from '../geometry'

/** Something to show on a picture. */
export interface Mark {
  id: number
  box?: Box
  point?: Point
  name: string
  /** A second line for whoever hovers: sub-label, confidence. */
  detail?: string
  colour: string
  /** Its name stands to its left, not on top: where marks lie close under each other. */
  aside?: boolean
}

interface Props {
  url: string | undefined
  alt: string
  /** Size in pixels as the server has it, if it said so already: of pictures that this browser cannot show. */
  extent?: Extent | undefined
  marks: Mark[]
  hovered: number | undefined
  hover: (id: number | undefined) => void
  showNames?: boolean
  busy?: boolean
  pick?: (id: number) => void
  /** The line under the picture with its size and where the pointer is. */
  readout?: boolean
  children?: ComponentChildren
}

const CROWDED = 40

/** A picture with marks that lie exactly where the answer says, at whatever size it is drawn. */
export function Stage(props: Props) {
  const { url, marks, hovered, showNames = true } = props
  const [natural, setNatural] = useState<{ url: string | undefined; extent: Extent | undefined }>()
  const [pointer, setPointer] = useState<Point>()
  const own = natural?.url === url ? natural : undefined
  const extent = props.extent ?? own?.extent
  const unseen = own && !own.extent

  function move(event: PointerEvent) {
    if (!extent) return
    const frame = (event.currentTarget as HTMLElement).getBoundingClientRect()
    const point: Point = [
      ((event.clientX - frame.left) / frame.width) * extent.width,
      ((event.clientY - frame.top) / frame.height) * extent.height,
    ]
    setPointer(point)
    const reach = (extent.width / frame.width) * 12
    const areas = marks.map(({ box, point: at }): Box | undefined =>
      box ?? (at && [at[0] - reach, at[1] - reach, at[0] + reach, at[1] + reach]),
    )
    const found = smallestAround(areas, point)
    const id = found === undefined ? undefined : marks[found]!.id
    if (id !== hovered) props.hover(id)
  }

  function leave() {
    setPointer(undefined)
    props.hover(undefined)
  }

  const ratio = extent ? extent.width / extent.height : 4 / 3
  const active = marks.find((mark) => mark.id === hovered)
  return (
    <div class="stage">
      <div
        class={props.busy ? 'frame busy' : 'frame'}
        style={{ '--ratio': ratio, '--natural': `${extent?.width ?? 640}px` }}
        onPointerMove={move}
        onPointerDown={move}
        onPointerLeave={leave}
        onClick={() => hovered !== undefined && props.pick?.(hovered)}
      >
        {url && !unseen && (
          <img
            src={url}
            alt={props.alt}
            draggable={false}
            onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) =>
              setNatural({ url, extent: { width: naturalWidth, height: naturalHeight } })
            }
            onError={() => setNatural({ url, extent: undefined })}
          />
        )}
        {unseen && <p class="unseen muted">This browser cannot show this kind of file; the server can read it.</p>}
        {props.children}
        {extent && (
          <div class={marks.length > CROWDED ? 'marks crowded' : 'marks'} aria-hidden="true">
            {marks.map((mark) => (
              <MarkView key={mark.id} mark={mark} extent={extent} active={mark.id === hovered} named={showNames} />
            ))}
          </div>
        )}
      </div>
      {props.readout !== false && <Readout extent={extent} active={active} pointer={pointer} />}
    </div>
  )
}

function Readout({ extent, active, pointer }: { extent: Extent | undefined; active: Mark | undefined; pointer: Point | undefined }) {
  return (
      <p class="readout" aria-hidden="true">
        {extent && (
          <span>
            {extent.width} × {extent.height} px
          </span>
        )}
        {active ? (
          <span class="readout-mark">
            <i class="dot" style={{ background: active.colour }} />
            <strong>{active.name}</strong> {active.detail} <code>{inWords(active.box ?? active.point ?? [0, 0])}</code>
          </span>
        ) : (
          pointer && <code>{inWords(pointer)}</code>
        )}
      </p>
  )
}

/** Where a mark's name has room. */
function sideOf(mark: Mark, [x1, y1]: Box, { width, height }: Extent): string {
  if (mark.aside && x1 / width > 0.2) return ' aside'
  return `${y1 / height < 0.06 ? ' inside' : ''}${x1 / width > 0.75 ? ' rightmost' : ''}`
}

function MarkView({ mark, extent, active, named }: { mark: Mark; extent: Extent; active: boolean; named: boolean }) {
  const box = mark.box ?? (mark.point && [...mark.point, ...mark.point] as Box)
  if (!box) return null
  return (
    <div
      class={`mark ${mark.box ? 'box' : 'point'}${active ? ' active' : ''}${sideOf(mark, box, extent)}`}
      data-mark={mark.id}
      style={{ ...placed(box, extent), '--colour': mark.colour }}
    >
      {mark.point && <i class="pin" />}
      {named && <span class="tag">{mark.name}</span>}
    </div>
  )
}
