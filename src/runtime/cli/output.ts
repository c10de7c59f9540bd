// What commands print: tables for people, one compact line of JSON for programs.

/** One line of JSON. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Columns under headings; nothing but `empty` when there are no rows. */
export function printTable(headings: readonly string[], rows: readonly (readonly string[])[], empty: string): void {
  if (rows.length === 0) {
    printLine(empty)
    return
  }
  const all = [headings, ...rows]
  const widths = headings.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  for (const row of all) {
    printLine(
      row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  '),
    )
  }
}

/** Text cut to a width, for a column. */
export function clip(text: string, width: number): string {
  const flat = text.replace(/\s+/g, ' ')
  return flat.length > width ? `${flat.slice(0, width - 3)}...` : flat
}
