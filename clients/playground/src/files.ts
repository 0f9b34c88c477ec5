import { useEffect, useRef, useState } from 'preact/hooks'

export type Kind = 'image' | 'document' | 'video'

const ACCEPT: Record<Kind, string> = {
  image: 'image/*,.heic,.heif',
  video: 'video/*,.mkv',
  document: 'application/pdf,image/*,.tif,.tiff',
}
const WORDS: Record<Kind, string> = { image: 'a picture', video: 'a clip', document: 'a PDF or a picture' }

export const accept = (kinds: readonly Kind[]) => kinds.map((kind) => ACCEPT[kind]).join(',')

/** "a picture or a clip". */
export const inWords = (kinds: readonly Kind[]) => [...new Set(kinds.map((kind) => WORDS[kind]))].join(' or ')

/** What a file is for, among the kinds that can be used; undefined for a file of none of them. */
export function kindOf(file: File, kinds: readonly Kind[]): Kind | undefined {
  const name = file.name.toLowerCase()
  const is = (kind: Kind) => kinds.includes(kind)
  if (file.type === 'application/pdf' || name.endsWith('.pdf')) return is('document') ? 'document' : undefined
  if (/tiff/.test(file.type) || /\.tiff?$/.test(name)) return is('document') ? 'document' : is('image') ? 'image' : undefined
  if (file.type.startsWith('video/') || /\.(mkv|avi)$/.test(name)) return is('video') ? 'video' : undefined
  if (file.type.startsWith('image/') || /\.hei[cf]$/.test(name)) return is('image') ? 'image' : is('document') ? 'document' : undefined
  return undefined
}

/** The address under which this page shows a file; given back when the file changes. */
export function useObjectUrl(file: File | undefined): string | undefined {
  const [url, setUrl] = useState<string>()
  useEffect(() => {
    if (!file) return setUrl(undefined)
    const made = URL.createObjectURL(file)
    setUrl(made)
    return () => URL.revokeObjectURL(made)
  }, [file])
  return url
}

/** Files that are dropped anywhere on the page or pasted, while `active`; true while some hover over it. */
export function useDropped(active: boolean, taken: (files: File[]) => void): boolean {
  const [over, setOver] = useState(false)
  const take = useRef(taken)
  take.current = taken
  useEffect(() => {
    if (!active) return
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return
      event.preventDefault()
      setOver(true)
    }
    const onLeave = (event: DragEvent) => event.relatedTarget === null && setOver(false)
    const onDrop = (event: DragEvent) => {
      if (!hasFiles(event)) return
      event.preventDefault()
      setOver(false)
      take.current([...(event.dataTransfer?.files ?? [])])
    }
    const onPaste = (event: ClipboardEvent) => {
      const files = [...(event.clipboardData?.files ?? [])]
      if (!files.length) return
      event.preventDefault()
      take.current(files)
    }
    window.addEventListener('dragover', onOver)
    window.addEventListener('dragleave', onLeave)
    window.addEventListener('drop', onDrop)
    window.addEventListener('paste', onPaste)
    return () => {
      window.removeEventListener('dragover', onOver)
      window.removeEventListener('dragleave', onLeave)
      window.removeEventListener('drop', onDrop)
      window.removeEventListener('paste', onPaste)
      setOver(false)
    }
  }, [active])
  return over
}

/** Hands a text or picture to the browser to save. */
export function save(name: string, content: Blob | string, type = 'text/plain'): void {
  const url = URL.createObjectURL(typeof content === 'string' ? new Blob([content], { type }) : content)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`
}
