// Columns for people: under headings, and coloured where it is a terminal that shows them. Pure.

export type Colour = 'good' | 'bad' | 'unsure' | 'plain'
export type Cell = string | readonly [text: string, colour: Colour]

const CODES: Readonly<Record<Colour, string>> = { good: '32', bad: '31', unsure: '33', plain: '' }

/**
 * @param headings none for rows alone
 * @param colours whether escape codes may be used
 */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[], colours: boolean): string {
  const all = headings.length > 0 ? [headings, ...rows] : rows
  const text = (cell: Cell): string => (typeof cell === 'string' ? cell : cell[0])
  const columns = Math.max(0, ...all.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...all.map((row) => text(row[column] ?? '').length)),
  )
  return all
    .map((row) =>
      row
        .map((cell, column) => {
          const padded = column === row.length - 1 ? text(cell) : text(cell).padEnd(widths[column] ?? 0)
          const code = typeof cell === 'string' ? '' : CODES[cell[1]]
          return colours && code !== '' ? `\u001b[${code}m${padded}\u001b[0m` : padded
        })
        .join('   '),
    )
    .join('\n')
}
