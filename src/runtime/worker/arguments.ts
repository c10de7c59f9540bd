// Checks a task's arguments by its schemas before its handler sees them.
import type { Schema, SchemaIssue } from '../schema.ts'
import { PermanentError, type TaskOptions } from '../task.ts'

/** Arguments that a schema refused: retrying won't make them better. */
export class ArgumentsInvalid extends PermanentError {}

/** What a handler is called with. */
export interface Arguments {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

/**
 * The arguments as the schemas have made them; at once where there are none.
 * @throws ArgumentsInvalid, or whatever a validator throws
 */
export function checkArguments(
  { argsSchema, kwargsSchema }: Pick<TaskOptions, 'argsSchema' | 'kwargsSchema'>,
  given: Arguments,
): Arguments | Promise<Arguments> {
  if (!argsSchema && !kwargsSchema) return given
  return check(argsSchema, kwargsSchema, given)
}

async function check(
  argsSchema: Schema | undefined,
  kwargsSchema: Schema | undefined,
  given: Arguments,
): Promise<Arguments> {
  const args = argsSchema ? await validated(argsSchema, given.args, 'arguments') : given.args
  const kwargs = kwargsSchema ? await validated(kwargsSchema, given.kwargs, 'keyword arguments') : given.kwargs
  if (!Array.isArray(args)) throw new ArgumentsInvalid('the argsSchema of this task makes no list of its arguments')
  return { args: args as unknown[], kwargs: kwargs as Arguments['kwargs'] }
}

async function validated(schema: Schema, value: unknown, what: string): Promise<unknown> {
  const result = await schema['~standard'].validate(value)
  if (!result.issues) return result.value
  throw new ArgumentsInvalid(`the ${what} do not fit: ${result.issues.map(describe).join('; ')}`)
}

function describe({ message, path }: SchemaIssue): string {
  const where = (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
  return where === '' ? message : `${where}: ${message}`
}
