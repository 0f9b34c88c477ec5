import { useEffect, useRef } from 'preact/hooks'
import type { Message } from '../conversation'

const NEAR_PX = 80

/** Keeps a list at its end while it grows, unless its reader scrolled up. */
export function useStuckToEnd(messages: Message[]) {
  const list = useRef<HTMLDivElement>(null)
  const stuck = useRef(true)
  useEffect(() => {
    const box = list.current!
    const note = () => void (stuck.current = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX)
    box.addEventListener('scroll', note, { passive: true })
    return () => box.removeEventListener('scroll', note)
  }, [])
  useEffect(() => {
    if (messages.at(-1)?.role === 'user') stuck.current = true
    if (stuck.current && list.current) list.current.scrollTop = list.current.scrollHeight
  }, [messages])
  return list
}
