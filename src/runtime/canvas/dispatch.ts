// What sending a signature means: which messages, and which chords begin to count. Pure; whoever has the plan publishes it in one
// step. The rules are Celery's (canvas.py of 5.7): groups in front of something become chords, nested chains and groups are unrolled.
import { MessageError } from '../errors.ts'
import type { JsonObject } from '../protocol/envelope.ts'
import { headerShape } from './group-result.ts'
import {
  countTasks,
  kindOf,
  MAX_DEPTH,
  membersOf,
  partsOf,
  readSignatures,
  textOption,
  tooDeep,
  withOptions,
  type Signature,
} from './signature.ts'

/** One task to be sent. What is left open (its queue, its time) is in the options, for the app to read. */
export interface PlannedTask {
  readonly id: string
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: JsonObject
  readonly options: JsonObject
  readonly callbacks: readonly Signature[]
  readonly errbacks: readonly Signature[]
  /** What follows, the next one last: workers pop. */
  readonly chain: readonly Signature[]
  readonly chord: Signature | undefined
  readonly groupId: string | undefined
  readonly groupIndex: number | undefined
}

export interface ChordSize {
  readonly groupId: string
  readonly size: number
  /** Where what the body is given is no plain list; see group-result.ts. */
  readonly shape?: string
}

export interface Plan {
  readonly tasks: PlannedTask[]
  readonly chordSizes: ChordSize[]
}

/** What is handed down from compound to member. */
interface Inherited {
  readonly chain: readonly Signature[]
  readonly chord: Signature | undefined
  readonly groupId: string | undefined
  readonly groupIndex: number | undefined
}

const NOTHING: Inherited = { chain: [], chord: undefined, groupId: undefined, groupIndex: undefined }

/**
 * Plans a signature.
 * @param args go before the signature's own, unless it is immutable
 * @param chain what follows after it, the next one last
 * @throws MessageError `CanvasInvalid`
 */
export function dispatch(
  signature: Signature,
  args: readonly unknown[],
  newId: () => string,
  chain: readonly Signature[] = [],
): Plan {
  const plan: Plan = { tasks: [], chordSizes: [] }
  new Dispatcher(plan, newId).send(signature, args, { ...NOTHING, chain }, 0)
  return plan
}

class Dispatcher {
  readonly #plan: Plan
  readonly #newId: () => string

  constructor(plan: Plan, newId: () => string) {
    this.#plan = plan
    this.#newId = newId
  }

  send(signature: Signature, args: readonly unknown[], inherited: Inherited, depth: number): void {
    if (depth > MAX_DEPTH) throw tooDeep()
    switch (kindOf(signature)) {
      case 'task':
        this.#sendTask(signature, args, inherited)
        return
      case 'chain':
        this.#sendChain(signature, args, inherited, depth)
        return
      case 'group':
        this.#sendGroup(signature, args, inherited, depth)
        return
      case 'chord':
        this.#sendChord(signature, args, inherited, depth)
        return
    }
  }

  #sendTask(signature: Signature, args: readonly unknown[], inherited: Inherited): void {
    const {
      link,
      link_error: linkError,
      chain,
      chord,
      group_id: groupId,
      group_index: groupIndex,
      ...options
    } = signature.options
    const [ownChord] = readSignatures(chord)
    this.#plan.tasks.push({
      id: textOption(signature, 'task_id') ?? this.#newId(),
      task: signature.task,
      args: withArgs(signature, args),
      kwargs: signature.kwargs,
      options,
      callbacks: readSignatures(link),
      errbacks: readSignatures(linkError),
      chain: [...inherited.chain, ...readSignatures(chain)],
      chord: inherited.chord ?? ownChord,
      // A task that has a place in a group keeps it: another would stall the chord that waits for it.
      groupId: typeof groupId === 'string' ? groupId : inherited.groupId,
      groupIndex: inherited.groupIndex ?? (typeof groupIndex === 'number' ? groupIndex : undefined),
    })
  }

  #sendChain(chain: Signature, args: readonly unknown[], inherited: Inherited, depth: number): void {
    const steps = stepsOf(membersOf(chain), depth)
    const [first, ...rest] = steps
    if (!first) return
    const last = rest.length - 1
    // What is linked to a chain follows its last task; its error links are every task's.
    const errbacks = readSignatures(chain.options['link_error'])
    const linked = rest.map((step, i) =>
      addLinks(step, i === last ? readSignatures(chain.options['link']) : [], errbacks),
    )
    const head = addLinks(first, rest.length === 0 ? readSignatures(chain.options['link']) : [], errbacks)
    // The place in a group, and the chord that counts, are the last task's.
    const place = placeOptions(chain, inherited)
    const tail = linked.map((step, i) => (i === last ? withOptions(step, place) : step))
    const own = withArgs(chain, args)
    const begin = rest.length === 0 ? withOptions(head, place) : head
    this.send(begin, own, { ...NOTHING, chain: [...inherited.chain, ...tail.toReversed()] }, depth + 1)
  }

  #sendGroup(group: Signature, args: readonly unknown[], inherited: Inherited, depth: number): void {
    const members = unrolled(membersOf(group), depth)
    const [ownChord] = readSignatures(group.options['chord'])
    const chord = inherited.chord ?? ownChord
    // At the end of a chain in a chord's header its members are of the header, which has counted them.
    const headerId = chord && (inherited.groupId ?? textOption(group, 'group_id'))
    const groupId = headerId ?? textOption(group, 'task_id') ?? inherited.groupId ?? this.#newId()
    const given = withArgs(group, args)
    if (chord && headerId === undefined) this.#count(groupId, members)
    members.forEach((member, groupIndex) => {
      this.send(member, given, { chain: inherited.chain, chord, groupId, groupIndex }, depth + 1)
    })
  }

  #sendChord(chord: Signature, args: readonly unknown[], inherited: Inherited, depth: number): void {
    const { header, headerId, body } = partsOf(chord)
    const members = unrolled(header, depth)
    const { link, link_error: linkError, task_id: taskId, ...options } = chord.options
    const groupId = headerId ?? (typeof taskId === 'string' ? taskId : undefined) ?? this.#newId()
    const bodyId = textOption(body, 'task_id') ?? this.#newId()
    const follows = [...inherited.chain, ...readSignatures(body.options['chain'])]
    const wanted = withOptions(addLinks(body, readSignatures(link), readSignatures(linkError)), {
      ...without(options, ['countdown', 'eta']),
      ...placeOptions(chord, inherited),
      task_id: bodyId,
      ...(follows.length > 0 ? { chain: follows } : {}),
    })
    const given = withArgs(chord, args)
    if (members.length === 0) {
      this.send(wanted, [[]], NOTHING, depth + 1)
      return
    }
    this.#count(groupId, members)
    members.forEach((member, groupIndex) => {
      this.send(member, given, { ...NOTHING, chord: wanted, groupId, groupIndex }, depth + 1)
    })
  }

  #count(groupId: string, members: readonly Signature[]): void {
    const size = members.reduce((sum, member) => sum + countTasks(member), 0)
    const shape = headerShape(groupId, members)
    this.#plan.chordSizes.push({ groupId, size, ...(shape === undefined ? {} : { shape }) })
  }
}

/** The steps of a chain: nested chains spliced in, and a group that something follows made a chord. */
function stepsOf(members: readonly Signature[], depth: number): Signature[] {
  if (depth > MAX_DEPTH) throw tooDeep()
  const flat = members.flatMap((member) =>
    kindOf(member) === 'chain' ? stepsOf(membersOf(member), depth + 1) : [member],
  )
  const steps: Signature[] = []
  for (const step of flat.toReversed()) {
    const next = steps[0]
    if (kindOf(step) !== 'group' || !next) {
      steps.unshift(step)
      continue
    }
    if (membersOf(step).length === 0) continue
    steps.shift()
    steps.unshift({
      task: 'celery.chord',
      args: [],
      kwargs: { kwargs: {}, header: step, body: next },
      options: {},
      subtask_type: 'chord',
      immutable: false,
    })
  }
  return steps
}

/** The members of a group, those of groups in it in their place, without chains that are empty. */
function unrolled(members: readonly Signature[], depth: number): Signature[] {
  if (depth > MAX_DEPTH) throw tooDeep()
  return members.flatMap((member) => {
    const kind = kindOf(member)
    if (kind === 'group') return unrolled(membersOf(member), depth + 1)
    return kind === 'chain' && membersOf(member).length === 0 ? [] : [member]
  })
}

function withArgs(signature: Signature, args: readonly unknown[]): readonly unknown[] {
  return signature.immutable ? signature.args : [...args, ...signature.args]
}

function addLinks(signature: Signature, callbacks: readonly Signature[], errbacks: readonly Signature[]): Signature {
  if (callbacks.length + errbacks.length === 0) return signature
  if (kindOf(signature) === 'group') {
    if (callbacks.length > 0) throw new MessageError('CanvasInvalid', 'nothing can be linked to a group: use a chord')
    return {
      ...signature,
      kwargs: { ...signature.kwargs, tasks: membersOf(signature).map((m) => addLinks(m, [], errbacks)) },
    }
  }
  const { link, link_error: linkError } = signature.options
  return withOptions(signature, {
    ...(callbacks.length > 0 ? { link: [...readSignatures(link), ...callbacks] } : {}),
    ...(errbacks.length > 0 ? { link_error: [...readSignatures(linkError), ...errbacks] } : {}),
  })
}

/** Where the end of a compound counts: its place in a group, and the chord that waits for it. */
function placeOptions(compound: Signature, { chord, groupId, groupIndex }: Inherited): JsonObject {
  const { chord: ownChord, group_id: ownGroup, group_index: ownIndex } = compound.options
  return {
    ...(chord || ownChord ? { chord: chord ?? ownChord } : {}),
    ...(groupId !== undefined || ownGroup !== undefined ? { group_id: ownGroup ?? groupId } : {}),
    ...(groupIndex !== undefined || ownIndex !== undefined ? { group_index: groupIndex ?? ownIndex } : {}),
  }
}

function without(options: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name)))
}
