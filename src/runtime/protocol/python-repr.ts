// A value the way Python's repr() prints it, for argsrepr, kwargsrepr and the result of a task event. Not a serializer.

/** Python's notation of a JSON value, cut at `limit` characters. */
export function pythonRepr(value: unknown, limit = 1024): string {
  const budget = { left: limit }
  const text = write(value, budget, 0)
  return text.length > limit ? `${text.slice(0, limit - 3)}...` : text
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
  if (typeof value === 'string') return writeString(value.length > budget.left ? value.slice(0, budget.left) : value)
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

/** Text in which there is nothing to escape: all but the rarest. */
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const ESCAPED = /[\u0000-\u001f'\\]/

function writeString(text: string): string {
  if (!ESCAPED.test(text)) return `'${text}'`
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  let out = quote
  for (const char of text) {
    if (char === '\\' || char === quote) out += `\\${char}`
    else if (char === '\n') out += '\\n'
    else if (char === '\r') out += '\\r'
    else if (char === '\t') out += '\\t'
    else if (char < ' ') out += `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
    else out += char
  }
  return out + quote
}
