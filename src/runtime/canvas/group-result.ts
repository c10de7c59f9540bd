// The shape of what a chord's body is given, where its header has groups within chains: a list in a list. Written as Celery's
// GroupResult, so that whichever worker ends the header gives the body the same. Pure.
import { isJsonObject } from '../protocol/envelope.ts'
import { kindOf, MAX_DEPTH, membersOf, partsOf, textOption, type Signature } from './signature.ts'

/** Celery's tuple of a result: `[[id, parent], null]`, or `[[id, parent], [results...]]` for a group. */
type ResultTuple = readonly [readonly [string, null], readonly ResultTuple[] | null]

/** The header's shape as JSON; undefined where it is a plain list, or can't be known: ids that are given only when tasks are sent. */
export function headerShape(groupId: string, members: readonly Signature[]): string | undefined {
  const tuples = members.map((member) => tupleOf(member, 0))
  if (!tuples.every((tuple) => tuple !== undefined) || tuples.every(([, results]) => results === null)) return undefined
  return JSON.stringify({ result: [[groupId, null], tuples] })
}

function tupleOf(signature: Signature, depth: number): ResultTuple | undefined {
  if (depth > MAX_DEPTH) return undefined
  const id = textOption(signature, 'task_id')
  switch (kindOf(signature)) {
    case 'task':
      return id === undefined ? undefined : [[id, null], null]
    case 'chord':
      return tupleOf(partsOf(signature).body, depth + 1)
    case 'chain': {
      const last = membersOf(signature).at(-1)
      return last && tupleOf(last, depth + 1)
    }
    case 'group': {
      const tuples = membersOf(signature).map((member) => tupleOf(member, depth + 1))
      return tuples.every((tuple) => tuple !== undefined) ? [[id ?? '', null], tuples] : undefined
    }
  }
}

/**
 * What a header returned, in its shape.
 * @param shape as headerShape() or Celery wrote it
 * @returns undefined when a value is missing or the shape can't be read: the plain list is right then
 */
export function shaped(shape: string, values: ReadonlyMap<string, unknown>): readonly unknown[] | undefined {
  try {
    const parsed: unknown = JSON.parse(shape)
    const value = isJsonObject(parsed) ? read(parsed['result'], values, 0) : undefined
    return Array.isArray(value) ? (value as unknown[]) : undefined
  } catch {
    return undefined
  }
}

/** @throws Error for what is no result, or one that isn't there */
function read(tuple: unknown, values: ReadonlyMap<string, unknown>, depth: number): unknown {
  if (!Array.isArray(tuple) || depth > MAX_DEPTH) throw new Error('not a result')
  const [head, nodes] = tuple as [unknown, unknown]
  if (Array.isArray(nodes)) return nodes.map((node) => read(node, values, depth + 1))
  const id: unknown = Array.isArray(head) ? head[0] : head
  if (typeof id !== 'string' || !values.has(id)) throw new Error('a result is missing')
  return values.get(id)
}
