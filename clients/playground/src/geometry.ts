/** Boxes are [x1, y1, x2, y2] and points [x, y], in pixels of the picture as sent, as the server answers them. */
export type Box = [x1: number, y1: number, x2: number, y2: number]
export type Point = [x: number, y: number]
export interface Extent {
  width: number
  height: number
}

const numbers = (value: unknown, count: number): value is number[] =>
  Array.isArray(value) && value.length === count && value.every((each) => typeof each === 'number' && isFinite(each))

export const isBox = (value: unknown): value is Box => numbers(value, 4)
export const isPoint = (value: unknown): value is Point => numbers(value, 2)

export function isExtent(value: unknown): value is Extent {
  const extent = value as Extent | null
  return typeof extent?.width === 'number' && typeof extent.height === 'number'
}

/** A box as a share of its picture, for CSS. */
export function placed([x1, y1, x2, y2]: Box, { width, height }: Extent) {
  const share = (part: number, whole: number) => `${(part / whole) * 100}%`
  return {
    left: share(x1, width),
    top: share(y1, height),
    width: share(x2 - x1, width),
    height: share(y2 - y1, height),
  }
}

const area = ([x1, y1, x2, y2]: Box) => (x2 - x1) * (y2 - y1)

/** The place in `boxes` of the smallest one around a point, so that what lies within another can be reached. */
export function smallestAround(boxes: readonly (Box | undefined)[], [x, y]: Point): number | undefined {
  let best: number | undefined
  boxes.forEach((box, at) => {
    if (!box || x < box[0] || x > box[2] || y < box[1] || y > box[3]) return
    if (best === undefined || area(box) < area(boxes[best]!)) best = at
  })
  return best
}

/** "412, 230 – 512, 330", or "412, 230". */
export function inWords(place: Box | Point): string {
  const [a, b, c, d] = place.map((each) => Math.round(each))
  return c === undefined ? `${a}, ${b}` : `${a}, ${b} – ${c}, ${d}`
}
