import type { Box, Extent } from './geometry'
import { isBox, isPoint } from './geometry'
import type { Item } from './run'

// The same forms as the server's own (server/tasks/exports.py), without asking the model again.

const labelOf = (item: Item) => String(item.label ?? 'object')
const boxed = (items: Item[]) => items.filter((item) => isBox(item.bbox_2d))
const rounded = (value: number) => Math.round(value * 100) / 100

function names(items: Item[], asked: string[]): string[] {
  return [...new Set([...asked, ...items.map(labelOf)])]
}

/** A COCO dataset of one picture; categories count from 1. */
export function coco(items: Item[], image: Extent, asked: string[], fileName: string): object {
  const categories = names(boxed(items), asked)
  return {
    images: [{ id: 1, width: image.width, height: image.height, file_name: fileName }],
    categories: categories.map((name, at) => ({ id: at + 1, name })),
    annotations: boxed(items).map((item, at) => {
      const [x1, y1, x2, y2] = item.bbox_2d as Box
      return {
        id: at + 1,
        image_id: 1,
        category_id: categories.indexOf(labelOf(item)) + 1,
        bbox: [x1, y1, x2 - x1, y2 - y1].map(rounded),
        area: rounded((x2 - x1) * (y2 - y1)),
        iscrowd: 0,
        score: item.confidence ?? null,
      }
    }),
  }
}

/** A YOLO label file: `class x_centre y_centre width height`, as shares of the picture. */
export function yolo(items: Item[], { width, height }: Extent, asked: string[]): string {
  const classes = yoloNames(items, asked)
  return boxed(items)
    .map((item) => {
      const [x1, y1, x2, y2] = item.bbox_2d as Box
      const shares = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
      return `${[classes.indexOf(labelOf(item)), ...shares.map((share) => Number(share.toPrecision(6)))].join(' ')}\n`
    })
    .join('')
}

/** The names of YOLO's classes, in the order of their numbers. */
export const yoloNames = (items: Item[], asked: string[]) => names(boxed(items), asked)

/** The picture with what was found drawn on it, at the picture's own size. */
export async function overlay(url: string, items: Item[], image: Extent, colour: (item: Item) => string): Promise<Blob> {
  const picture = new Image()
  picture.src = url
  await picture.decode()
  const canvas = new OffscreenCanvas(image.width, image.height)
  const pen = canvas.getContext('2d')!
  pen.drawImage(picture, 0, 0, image.width, image.height)
  const line = Math.max(2, Math.max(image.width, image.height) / 400)
  pen.lineWidth = line
  pen.font = `600 ${line * 6}px system-ui, sans-serif`
  pen.textBaseline = 'middle'
  for (const item of items) {
    const name = [item.label, item.sub_label].filter(Boolean).join(', ')
    pen.strokeStyle = pen.fillStyle = colour(item)
    if (isBox(item.bbox_2d)) {
      const [x1, y1, x2, y2] = item.bbox_2d
      pen.strokeRect(x1 + line / 2, y1 + line / 2, x2 - x1 - line, y2 - y1 - line)
      tag(pen, name, x1, y1 < line * 9 ? y1 : y1 - line * 9, line)
    } else if (isPoint(item.point_2d)) {
      const [x, y] = item.point_2d
      pen.beginPath()
      pen.arc(x, y, line * 3, 0, 2 * Math.PI)
      pen.fill()
      tag(pen, name, x + line * 5, y - line * 4.5, line)
    }
  }
  return canvas.convertToBlob({ type: 'image/png' })
}

function tag(pen: OffscreenCanvasRenderingContext2D, name: string, x: number, y: number, line: number): void {
  if (!name) return
  pen.fillRect(x, y, pen.measureText(name).width + line * 4, line * 9)
  pen.fillStyle = '#fff'
  pen.fillText(name, x + line * 2, y + line * 4.5)
}
