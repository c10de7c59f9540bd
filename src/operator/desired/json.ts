// A JSON object whose fields nobody has looked at yet, and how to tell one. Not a parser.

export type Json = Record<string, unknown>

export function isMap(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
