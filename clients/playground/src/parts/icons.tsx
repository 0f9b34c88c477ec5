import type { JSX } from 'preact'

// Drawn for this page, on a grid of 20.
const PATHS = {
  chat: 'M4 5.500h12v8H9l-3.500 2.800V13.500H4z',
  detect: 'M3.500 7V3.500H7M13 3.500h3.500V7M16.500 13v3.500H13M7 16.500H3.500V13M7.500 7.500h5v5h-5z',
  document: 'M5 3h6.500L15 6.500V17H5zM11.500 3v3.500H15M7.500 10h5M7.500 13h5',
  video: 'M3 5h14v10H3zM8.500 8v4l3.500-2z',
  agent: 'M5 3.500l10.500 5.200-4.600 1.500-1.700 4.800zM11.800 11.800l3.700 3.700',
  caption: 'M3.500 5h13M3.500 9h13M3.500 13h8',
  extract: 'M4 4h12v12H4zM4 8h12M4 12h12M9 4v12',
  text: 'M4 6V4h12v2M10 4v12M7.500 16h5',
  task: 'M10 3l6 3.500v7L10 17l-6-3.500v-7zM4 6.500l6 3.500 6-3.500M10 10v7',
  model: 'M5.500 5.500h9v9h-9zM8 2.500v3M12 2.500v3M8 14.500v3M12 14.500v3M2.500 8h3M2.500 12h3M14.500 8h3M14.500 12h3',
  upload: 'M10 13V4M6.500 7.500L10 4l3.500 3.500M4 13v3h12v-3',
  camera: 'M3 6.500h3L7.500 4.500h5L14 6.500h3V16H3zM10 8.500a2.700 2.700 0 1 0 0 5.400 2.700 2.700 0 1 0 0-5.400',
  stop: 'M6 6h8v8H6z',
  play: 'M6.500 4.500l9 5.500-9 5.500z',
  send: 'M10 16V4.500M5.500 9L10 4.500 14.500 9',
  code: 'M7 6l-4 4 4 4M13 6l4 4-4 4',
  copy: 'M7 7V4h9v9h-3M4 7h9v9H4z',
  check: 'M4.500 10.500l3.500 3.500 7.500-8',
  close: 'M5 5l10 10M15 5L5 15',
  plus: 'M10 4v12M4 10h12',
  sun: 'M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 1 0 0-7M10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M4.300 15.700l1.100-1.100M14.600 5.400l1.100-1.100',
  moon: 'M15.500 12.200A6 6 0 0 1 7.800 4.500a6 6 0 1 0 7.700 7.700z',
  auto: 'M3 4.500h14v9H3zM7.500 16.500h5M10 13.500v3',
  warning: 'M10 3.500l7 12.500H3zM10 8v4M10 14v.100',
  down: 'M10 4v9M6.500 9.500L10 13l3.500-3.500M4 16h12',
  chevron: 'M6 8l4 4 4-4',
  key: 'M12.500 3.500a4 4 0 1 0 0 8 4 4 0 1 0 0-8M9.500 10.500L3.500 16.500M5.500 14.500l1.500 1.500',
  again: 'M15.500 8A6 6 0 1 0 16 11M16 4v4h-4',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name, size = 20 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" width={size} height={size} aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}
