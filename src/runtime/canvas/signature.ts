// A signature: a task that is not sent yet, with its arguments and options, as Celery writes it into messages; also the compound ones,
// chain, group and chord. Plain JSON, so that what we don't know of (stamps, options of newer versions) goes on unchanged.
import { MessageError } from '../errors.ts'
import { isJsonObject, type JsonObject } from '../protocol/envelope.ts'

/** What a signature stands for. */
export type SignatureKind = 'task' | 'chain' | 'group' | 'chord'

/** A signature as it is in messages, its fields checked. */
export interface Signature {
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: JsonObject
  /** task_id, queue, link, link_error, countdown and the like; null means not given. */
  readonly options: JsonObject
  readonly subtask_type: string | null
  /** It ignores what the task before it returned. */
  readonly immutable: boolean
}

/** Compounds within compounds beyond this are taken for a mistake, or for an attack on the stack. */
export const MAX_DEPTH = 100

/** Reads a signature. @throws MessageError `CanvasInvalid` */
export function readSignature(value: unknown): Signature {
  if (!isJsonObject(value) || typeof value['task'] !== 'string' || value['task'] === '')
    throw new MessageError('CanvasInvalid', 'a signature in the message names no task')
  const { task, args, kwargs, options, subtask_type: type } = value
  return {
    ...value,
    task,
    args: Array.isArray(args) ? (args as unknown[]) : [],
    kwargs: isJsonObject(kwargs) ? kwargs : {},
    options: isJsonObject(options) ? given(options) : {},
    subtask_type: typeof type === 'string' ? type : null,
    immutable: value['immutable'] === true,
  }
}

/** None, one, or a list of them. @throws MessageError `CanvasInvalid` */
export function readSignatures(value: unknown): Signature[] {
  if (value === null || value === undefined) return []
  return (Array.isArray(value) ? (value as unknown[]) : [value]).map(readSignature)
}

/** @throws MessageError `CanvasInvalid` for a compound that Node workers don't know, such as chunks or xmap */
export function kindOf(signature: Signature): SignatureKind {
  switch (signature.subtask_type) {
    case null:
      return 'task'
    case 'chain':
    case 'group':
    case 'chord':
      return signature.subtask_type
    default:
      throw new MessageError(
        'CanvasInvalid',
        `a Node worker can't follow a signature of type ${signature.subtask_type}`,
      )
  }
}

/** The tasks of a chain or a group. */
export function membersOf(signature: Signature): Signature[] {
  return readSignatures(signature.kwargs['tasks'])
}

/** The header of a chord, which is a group or a list, and its body. */
export function partsOf(chord: Signature): { header: Signature[]; headerId: string | undefined; body: Signature } {
  const header = chord.kwargs['header']
  const body = readSignature(chord.kwargs['body'])
  if (Array.isArray(header)) return { header: readSignatures(header), headerId: undefined, body }
  const group = readSignature(header)
  return { header: membersOf(group), headerId: textOption(group, 'task_id'), body }
}

export function withOptions(signature: Signature, options: JsonObject): Signature {
  return { ...signature, options: { ...signature.options, ...given(options) } }
}

export function textOption(signature: Signature, name: string): string | undefined {
  const value = signature.options[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** How many tasks of a chord's header count toward its body, as Celery's _descend counts. */
export function countTasks(signature: Signature, depth = 0): number {
  if (depth > MAX_DEPTH) throw tooDeep()
  switch (kindOf(signature)) {
    case 'task':
      return 1
    case 'group':
      return membersOf(signature).reduce((sum, member) => sum + countTasks(member, depth + 1), 0)
    case 'chord':
      return countTasks(partsOf(signature).body, depth + 1)
    case 'chain': {
      // The last one that is not empty counts.
      for (const member of membersOf(signature).toReversed()) {
        const count = countTasks(member, depth + 1)
        if (count > 0) return count
      }
      return 0
    }
  }
}

export function tooDeep(): MessageError {
  return new MessageError('CanvasInvalid', `the message nests chains, groups and chords more than ${MAX_DEPTH} deep`)
}

function given(options: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null && value !== undefined))
}
