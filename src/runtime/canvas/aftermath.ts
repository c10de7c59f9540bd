// What follows from the end of a task: its callbacks, the next step of its chain, its part of a chord; or, after a failure, its error
// links, and the failure of everything that waited for it. Pure. The rules are Celery's (trace.py and backends/base.py of 5.7).
import type { TaskMessage } from '../protocol/task-message.ts'
import { dispatch, type Plan } from './dispatch.ts'
import {
  kindOf,
  MAX_DEPTH,
  membersOf,
  partsOf,
  readSignatures,
  textOption,
  tooDeep,
  type Signature,
} from './signature.ts'

/** How a task ended: with a value, or with the description of a failure. */
export interface TaskEnd {
  readonly state: 'SUCCESS' | 'FAILURE' | 'REVOKED'
  readonly value: unknown
}

/** One task of a chord's header has ended. */
export interface ChordPart {
  readonly groupId: string
  /** Undefined for one that has no place of its own. */
  readonly index: number | undefined
  readonly taskId: string
  readonly state: TaskEnd['state']
  readonly value: unknown
  readonly body: Signature
}

/** What is to be done. */
export interface Aftermath {
  readonly plans: Plan[]
  readonly parts: ChordPart[]
  /** Tasks that will never run: their result is this end as well. */
  readonly results: { readonly taskId: string; readonly end: TaskEnd }[]
}

/** Whether anything follows from the end of a task. */
export function hasAftermath({ embed }: TaskMessage): boolean {
  const { callbacks, errbacks, chain, chord } = embed
  return [callbacks, errbacks, chain, chord].some((part) =>
    Array.isArray(part) ? part.length > 0 : part !== null && part !== undefined,
  )
}

/** @throws MessageError `CanvasInvalid` when what follows can't be understood */
export function aftermathOf(message: TaskMessage, end: TaskEnd, newId: () => string): Aftermath {
  const { embed, id, groupId } = message
  const found: Aftermath = { plans: [], parts: [], results: [] }
  const chain = readSignatures(embed.chain)
  const [body] = readSignatures(embed.chord)
  if (body && groupId !== undefined) found.parts.push({ groupId, index: message.groupIndex, taskId: id, ...end, body })
  if (end.state === 'SUCCESS') {
    for (const callback of readSignatures(embed.callbacks)) found.plans.push(dispatch(callback, [end.value], newId))
    const next = chain.pop()
    if (next) found.plans.push(dispatch(next, [end.value], newId, chain))
    return found
  }
  for (const step of chain) fail(step, end, newId, found, 0)
  for (const errback of readSignatures(embed.errbacks)) found.plans.push(dispatch(errback, [id], newId))
  return found
}

/** What follows from a body that will not run, since a task of its header failed. */
export function failedBody(body: Signature, end: TaskEnd, newId: () => string): Aftermath {
  const found: Aftermath = { plans: [], parts: [], results: [] }
  fail(body, end, newId, found, 0)
  for (const errback of readSignatures(body.options['link_error'])) {
    found.plans.push(dispatch(errback, [textOption(body, 'task_id') ?? ''], newId))
  }
  return found
}

/** A signature that will not be sent any more: whoever waits for it has to hear of it. */
function fail(signature: Signature, end: TaskEnd, newId: () => string, found: Aftermath, depth: number): void {
  if (depth > MAX_DEPTH) throw tooDeep()
  const taskId = textOption(signature, 'task_id')
  switch (kindOf(signature)) {
    case 'task':
      if (taskId !== undefined) found.results.push({ taskId, end })
      failPart(signature, end, found)
      break
    case 'chord':
      // A chord is done when its body is.
      fail(partsOf(signature).body, end, newId, found, depth + 1)
      break
    case 'chain':
    case 'group':
      for (const member of membersOf(signature)) fail(member, end, newId, found, depth + 1)
      break
  }
  for (const step of readSignatures(signature.options['chain'])) fail(step, end, newId, found, depth + 1)
}

function failPart(signature: Signature, end: TaskEnd, found: Aftermath): void {
  const [body] = readSignatures(signature.options['chord'])
  const [groupId, taskId] = [textOption(signature, 'group_id'), textOption(signature, 'task_id')]
  if (!body || groupId === undefined || taskId === undefined) return
  const index = signature.options['group_index']
  found.parts.push({ groupId, index: typeof index === 'number' ? index : undefined, taskId, ...end, body })
}
