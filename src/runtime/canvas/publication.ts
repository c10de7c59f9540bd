// Turns a planned task into a message for its queue. Pure: where tasks go and what time it is comes in.
import type { Publication } from '../broker/transport.ts'
import type { JsonObject } from '../protocol/envelope.ts'
import { parseInstant } from '../protocol/instant.ts'
import { encodeTask } from '../protocol/task-message.ts'
import type { PlannedTask } from './dispatch.ts'

/** What the messages of a canvas share. */
export interface Lineage {
  /** The task that sends them; undefined for a producer. */
  readonly parentId: string | undefined
  /** The first of all; the task itself where there is none. */
  readonly rootId: string | undefined
  /** Milliseconds since the epoch, the broker's clock. */
  readonly now: number
  /** The queue of a task, for the queue that its options name, if any. */
  readonly queueOf: (task: string, queue: string | undefined) => string
  /** What a message carries of a trace; it wins over the headers that the canvas itself has. */
  readonly traceOf: (task: PlannedTask, queue: string) => JsonObject
}

/** @throws UsageError when the arguments can't be written as JSON, or a time can't be read */
export function publicationOf(planned: PlannedTask, lineage: Lineage): Publication & { readonly bodyBytes: number } {
  const { options } = planned
  const queue = lineage.queueOf(planned.task, text(options['queue']) ?? text(options['routing_key']))
  const priority = typeof options['priority'] === 'number' ? Math.min(9, Math.max(0, options['priority'])) : 0
  const rootId = text(options['root_id']) ?? lineage.rootId ?? planned.id
  const { raw, bodyBytes } = encodeTask({
    id: planned.id,
    task: planned.task,
    args: planned.args,
    kwargs: planned.kwargs,
    embed: {
      callbacks: planned.callbacks.length > 0 ? planned.callbacks : null,
      errbacks: planned.errbacks.length > 0 ? planned.errbacks : null,
      chain: planned.chain.length > 0 ? planned.chain : null,
      chord: planned.chord ?? null,
    },
    queue,
    priority,
    rootId,
    parentId: text(options['parent_id']) ?? lineage.parentId,
    ignoreResult: options['ignore_result'] === true,
    eta: instant(options['eta'], lineage.now) ?? delay(options['countdown'], lineage.now),
    expires: instant(options['expires'], lineage.now),
    ...(text(options['reply_to']) === undefined ? {} : { replyTo: text(options['reply_to']) }),
    headers: { ...ownHeaders(planned), ...lineage.traceOf(planned, queue) },
  })
  return { queue, priority, raw, bodyBytes }
}

function ownHeaders({ options, groupId, groupIndex }: PlannedTask): JsonObject {
  const { time_limit: hard, soft_time_limit: soft, shadow, stamped_headers: stamped, headers } = options
  const stamps = Array.isArray(stamped) ? (stamped as unknown[]).filter((name) => typeof name === 'string') : []
  return {
    ...(typeof headers === 'object' && headers !== null ? headers : {}),
    group: groupId ?? null,
    group_index: groupIndex ?? null,
    timelimit: [hard ?? null, soft ?? null],
    ...(typeof shadow === 'string' ? { shadow } : {}),
    ...(stamps.length > 0
      ? { stamped_headers: stamps, stamps: Object.fromEntries(stamps.map((name) => [name, options[name] ?? null])) }
      : {}),
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** ISO-8601 text, or seconds from now. */
function instant(value: unknown, now: number): number | undefined {
  return typeof value === 'string' ? parseInstant(value) : delay(value, now)
}

function delay(seconds: unknown, now: number): number | undefined {
  return typeof seconds === 'number' && Number.isFinite(seconds) ? now + seconds * 1000 : undefined
}
