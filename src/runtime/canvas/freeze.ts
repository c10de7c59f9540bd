// Gives every task of a signature its id before anything is sent, and tells whose result is the whole's. Pure.
import { kindOf, MAX_DEPTH, membersOf, partsOf, textOption, tooDeep, withOptions, type Signature } from './signature.ts'

/** The result of a signature: one task's, or those of several. */
export type ResultShape = string | readonly ResultShape[]

export interface Frozen {
  readonly signature: Signature
  readonly result: ResultShape
}

/** @throws MessageError `CanvasInvalid` */
export function freeze(signature: Signature, newId: () => string, depth = 0): Frozen {
  if (depth > MAX_DEPTH) throw tooDeep()
  const id = textOption(signature, 'task_id') ?? newId()
  const withMembers = (members: readonly Frozen[]): Signature => ({
    ...signature,
    kwargs: { ...signature.kwargs, tasks: members.map((member) => member.signature) },
  })
  switch (kindOf(signature)) {
    case 'task':
      return { signature: withOptions(signature, { task_id: id }), result: id }
    case 'chain': {
      const members = membersOf(signature).map((member) => freeze(member, newId, depth + 1))
      return { signature: withMembers(members), result: members.at(-1)?.result ?? [] }
    }
    case 'group': {
      const members = membersOf(signature).map((member) => freeze(member, newId, depth + 1))
      return {
        signature: withOptions(withMembers(members), { task_id: id }),
        result: members.map(({ result }) => result),
      }
    }
    case 'chord': {
      const parts = partsOf(signature)
      const header = parts.header.map((member) => freeze(member, newId, depth + 1).signature)
      const body = freeze(parts.body, newId, depth + 1)
      return {
        signature: { ...signature, kwargs: { ...signature.kwargs, header, body: body.signature } },
        result: body.result,
      }
    }
  }
}
