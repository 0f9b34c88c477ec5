// Each carries white text at 4.5:1 or more.
const COLOURS = ['#2563eb', '#c2410c', '#0f766e', '#be185d', '#7c3aed', '#a16207', '#0369a1', '#dc2626', '#4d7c0f', '#86198f']

/** The colour of a name among `names`, which are in the order in which they turned up. */
export function colourOf(name: string, names: readonly string[]): string {
  return COLOURS[Math.max(0, names.indexOf(name)) % COLOURS.length]!
}
