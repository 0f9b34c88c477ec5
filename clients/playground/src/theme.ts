import { useEffect, useState } from 'preact/hooks'

type Theme = 'auto' | 'light' | 'dark'
const ORDER: Theme[] = ['auto', 'light', 'dark']
const stored = (): Theme => ORDER.find((each) => each === localStorage.getItem('theme')) ?? 'auto'

/** Puts the chosen colours on the page. */
export function applyTheme(theme: Theme = stored()): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
}

/** The colours, and a function that goes to the next ones. */
export function useTheme(): [Theme, () => void] {
  const [theme, set] = useState(stored)
  useEffect(() => applyTheme(theme), [theme])
  return [
    theme,
    () => {
      const next = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length]!
      localStorage.setItem('theme', next)
      set(next)
    },
  ]
}
