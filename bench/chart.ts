// A bar chart as SVG, for the results' page. Pure: figures in, text out.

export interface Bar {
  readonly label: string
  readonly value: number
  readonly least: number
  readonly most: number
}

const [WIDTH, LEFT, ROW, TOP] = [720, 140, 34, 44]
const RIGHT = 90

/** Bars from 0, the longest across the whole width, each with a whisker from its least to its most. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map((bar) => bar.most), 1)
  const x = (value: number): number => Math.round((value / most) * (WIDTH - LEFT - RIGHT)) + LEFT
  const height = TOP + bars.length * ROW + 12
  const rows = bars.flatMap(({ label, value, least, most: top }, i) => {
    const y = TOP + i * ROW
    const middle = y + 11
    return [
      `<text x="${LEFT - 10}" y="${middle + 4}" text-anchor="end">${escaped(label)}</text>`,
      `<rect x="${LEFT}" y="${y}" width="${x(value) - LEFT}" height="22" fill="${i === 0 ? '#2b6cb0' : '#a0aec0'}"/>`,
      `<path d="M${x(least)} ${middle}H${x(top)}M${x(least)} ${middle - 4}v8M${x(top)} ${middle - 4}v8" stroke="#1a202c" fill="none"/>`,
      `<text x="${x(top) + 8}" y="${middle + 4}">${Math.round(value).toLocaleString('en')}</text>`,
    ]
  })
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="24" font-size="15">${escaped(title)} (${escaped(unit)})</text>`,
    ...rows,
    '</svg>',
  ].join('\n')}\n`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
