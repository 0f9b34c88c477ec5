import { useEffect, useRef, useState } from 'preact/hooks'
import type { Extent } from '../geometry'
import type { Pdf } from '../pdf'
import { Stage, type Mark } from './stage'

/** A document that this page can show: an open PDF, or a picture's address. */
export interface Shown {
  pdf?: Pdf
  url?: string
  pages: number
  /** Sizes of the pages of a PDF, in points; of the first one where the others are not known yet. */
  first?: Extent
}

/** Opens a dropped document. `problem` says why its pages cannot be shown here; they can be read all the same. */
export function useShown(file: File | undefined, url: string | undefined): { shown: Shown | undefined; problem: string } {
  const [state, set] = useState<{ shown: Shown | undefined; problem: string }>({ shown: undefined, problem: '' })
  useEffect(() => {
    set({ shown: undefined, problem: '' })
    if (!file || !url) return
    if (file.type !== 'application/pdf' && !file.name.toLowerCase().endsWith('.pdf')) {
      set({ shown: { url, pages: 1 }, problem: '' })
      return
    }
    let gone = false
    let opened: Pdf | undefined
    void (async () => {
      try {
        const { Pdf } = await import('../pdf')
        opened = await Pdf.open(file)
        const first = await opened.extent(1)
        if (gone) opened.close()
        else set({ shown: { pdf: opened, pages: opened.pages, first }, problem: '' })
      } catch {
        if (!gone) set({ shown: undefined, problem: 'The pages of this PDF cannot be shown here; blocks are drawn on blank ones.' })
      }
    })()
    return () => {
      gone = true
      opened?.close()
    }
  }, [file, url])
  return state
}

interface Props {
  shown: Shown | undefined
  number: number
  /** The page's size as the server answered it, which its marks are in. */
  extent: Extent | undefined
  marks: Mark[]
  hovered: number | undefined
  hover: (id: number | undefined) => void
  pick?: (id: number) => void
  busy: boolean
}

/** One page with its marks; drawn when it comes into view. */
export function PageView({ shown, number, extent, ...rest }: Props) {
  return (
    <Stage
      url={shown?.url}
      alt={`Page ${number}`}
      extent={extent ?? shown?.first ?? (shown?.url ? undefined : BLANK)}
      readout={false}
      {...rest}
    >
      {shown?.pdf && <PdfCanvas pdf={shown.pdf} number={number} />}
    </Stage>
  )
}

const BLANK: Extent = { width: 595, height: 842 }
const MOST_PIXELS_WIDE = 1600

function PdfCanvas({ pdf, number }: { pdf: Pdf; number: number }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [drawn, setDrawn] = useState(false)
  const [failed, setFailed] = useState(false)
  useEffect(() => {
    const abort = new AbortController()
    const target = canvas.current!
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return
        observer.disconnect()
        const wide = Math.min(target.parentElement!.clientWidth * Math.min(devicePixelRatio, 2), MOST_PIXELS_WIDE)
        pdf.draw(number, target, wide, abort.signal).then(
          () => setDrawn(true),
          () => setFailed(true),
        )
      },
      { rootMargin: '300px' },
    )
    observer.observe(target)
    return () => {
      observer.disconnect()
      abort.abort()
    }
  }, [pdf, number])
  return (
    <>
      <canvas ref={canvas} role="img" aria-label={`Page ${number}`} data-drawn={drawn} />
      {failed && <p class="unseen muted">This page cannot be shown here.</p>}
    </>
  )
}
