// A value the way Python's repr() prints it, for argsrepr, kwargsrepr and the result of a task event. Not a serializer.

/** Python's notation of a JSON value, cut at `limit` characters. */
export function pythonRepr(value: unknown, limit = 1024): string {
  const budget = { left: limit }
  const text = write(value, budget, 0)
  return text.length > limit ? `${cut(text, limit - 3)}...` : text
}

/** The same for positional arguments, which Celery shows as a tuple. */
export function pythonTuple(values: readonly unknown[], limit = 1024): string {
  const list = pythonRepr(values, limit)
  return `(${list.slice(1, -1)}${values.length === 1 ? ',' : ''})`
}

function write(value: unknown, budget: { left: number }, depth: number): string {
  // The budget bounds the work on a big argument, not only the length of the text.
  if (budget.left <= 0 || depth > 8) return '...'
  const text = writeAny(value, budget, depth)
  budget.left -= text.length
  return text
}

function writeAny(value: unknown, budget: { left: number }, depth: number): string {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'string') return writeString(value.length > budget.left ? cut(value, budget.left) : value)
  if (Array.isArray(value)) return `[${bounded(value, budget, (item) => write(item, budget, depth + 1)).join(', ')}]`
  if (typeof value === 'object') {
    const items = bounded(Object.entries(value), budget, ([key, item]) => {
      return `${writeString(key)}: ${write(item, budget, depth + 1)}`
    })
    return `{${items.join(', ')}}`
  }
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : `<${typeof value}>`
}

function bounded<T>(items: readonly T[], budget: { left: number }, one: (item: T) => string): string[] {
  const out: string[] = []
  for (const item of items) {
    if (budget.left <= 0) {
      out.push('...')
      break
    }
    budget.left -= 2
    out.push(one(item))
  }
  return out
}

/** Text in which there is nothing to escape: most of it. */
const PLAIN = /^[ -&(-[\]-~]*$/
/** Quotes, backslashes, and what str.isprintable() is false for: the categories "Other" and "Separator" but for the space. */
const ESCAPED = /['"\\]|(?! )[\p{C}\p{Z}]/gu
const NAMED: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function writeString(text: string): string {
  if (PLAIN.test(text)) return `'${text}'`
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  return quote + text.replace(ESCAPED, (char) => escaped(char, quote)) + quote
}

function escaped(char: string, quote: string): string {
  if (char === "'" || char === '"') return char === quote ? `\\${char}` : char
  const code = char.codePointAt(0) ?? 0
  const hex = code.toString(16)
  return NAMED[char] ?? (code < 0x100 ? `\\x${hex.padStart(2, '0')}` : wide(hex))
}

function wide(hex: string): string {
  return hex.length <= 4 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`
}

/** At most so many characters, and no half of a pair at the end: Python can't print one. */
function cut(text: string, most: number): string {
  const code = text.charCodeAt(most - 1)
  return text.slice(0, code >= 0xd800 && code < 0xdc00 ? most - 1 : most)
}
