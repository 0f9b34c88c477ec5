import type { PDFDocumentProxy, PDFPageProxy } from 'pdfjs-dist'
import jbig2 from 'pdfjs-dist/wasm/jbig2.wasm?url'
import worker from 'pdfjs-dist/build/pdf.worker.min.mjs?url'
import openjpeg from 'pdfjs-dist/wasm/openjpeg.wasm?url'
import type { Extent } from './geometry'

// PDF pages are drawn here by Mozilla's PDF.js, from the file that the page already has: nothing is sent twice, and
// pages can be seen before they are read. It is loaded when the first PDF is opened.

/** The decoders of what scanners write, under the names by which PDF.js asks for them. */
const PIECES: Record<string, string> = { 'jbig2.wasm': jbig2, 'openjpeg.wasm': openjpeg }

class Pieces {
  async fetch({ filename }: { filename: string }): Promise<Uint8Array> {
    const url = PIECES[filename]
    if (!url) throw new Error(`${filename} is not shipped`)
    return new Uint8Array(await (await fetch(url)).arrayBuffer())
  }
}

interface ScriptPolicy {
  createScriptURL(url: string): string
}

let library: Promise<typeof import('pdfjs-dist')> | undefined

function pdfjs(): Promise<typeof import('pdfjs-dist')> {
  library ??= import('pdfjs-dist').then((loaded) => {
    const factory = (window as { trustedTypes?: { createPolicy(name: string, rules: ScriptPolicy): ScriptPolicy } }).trustedTypes
    const policy = factory?.createPolicy('pdf-worker', { createScriptURL: (asked) => (asked === worker ? asked : '') })
    loaded.GlobalWorkerOptions.workerPort = new Worker(policy?.createScriptURL(worker) ?? worker, { type: 'module' })
    return loaded
  })
  return library
}

/** An open PDF. */
export class Pdf {
  private constructor(private readonly document: PDFDocumentProxy) {}

  static async open(file: File): Promise<Pdf> {
    const { getDocument } = await pdfjs()
    const data = new Uint8Array(await file.arrayBuffer())
    const loading = getDocument({
      data,
      enableXfa: false,
      useSystemFonts: true,
      useWorkerFetch: false,
      BinaryDataFactory: Pieces,
    })
    return new Pdf(await loading.promise)
  }

  get pages(): number {
    return this.document.numPages
  }

  /** The size of a page in points. */
  async extent(number: number): Promise<Extent> {
    return extentOf(await this.document.getPage(number))
  }

  /** Draws a page as wide as `canvas` is on the screen. Nothing is drawn once `signal` says so. */
  async draw(number: number, canvas: HTMLCanvasElement, widthPx: number, signal: AbortSignal): Promise<void> {
    const page = await this.document.getPage(number)
    if (signal.aborted) return
    const viewport = page.getViewport({ scale: widthPx / extentOf(page).width })
    canvas.width = Math.round(viewport.width)
    canvas.height = Math.round(viewport.height)
    const task = page.render({ canvas, viewport })
    signal.addEventListener('abort', () => task.cancel())
    await task.promise.catch((thrown: unknown) => {
      if (!signal.aborted) throw thrown
    })
  }

  close(): void {
    void this.document.loadingTask.destroy()
  }
}

function extentOf(page: PDFPageProxy): Extent {
  const { width, height } = page.getViewport({ scale: 1 })
  return { width, height }
}
