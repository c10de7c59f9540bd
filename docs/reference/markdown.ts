// Tables and words of Markdown, so that no text of a declaration is taken for markup.

/** What stands in a cell or a sentence: `<` begins no tag. */
export function plain(text: string): string {
  return text.replaceAll('<', '\\<').replace(/\s+/g, ' ').trim()
}

/** A code span; empty for nothing. */
export function code(text: string): string {
  if (text === '') return ''
  return text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``
}

export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(headings), line(headings.map(() => '---')), ...rows.map(line)].join('\n')
}
