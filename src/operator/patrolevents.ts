// Events of what patrol finds and no condition tells: one when it appears, one when it is gone. None for what lasts, nor for what can
// not be seen. Remembers what it has told; a restart goes by status.

import type { EventRecorder } from './events.ts'
import { keyOf, type ObjectKey } from './objects.ts'
import { isInCondition, sentenceOf, type ToldFinding } from './patrolfinding.ts'
import type { TaskQueue } from './taskqueue.ts'

export class PatrolEvents {
  readonly #events: EventRecorder
  readonly #told = new Map<ObjectKey, ReadonlyMap<string, ToldFinding>>()

  constructor(events: EventRecorder) {
    this.#events = events
  }

  /** @param findings undefined while nothing is known: then nothing is new, and nothing is gone */
  tell(queue: TaskQueue, findings: readonly ToldFinding[] | undefined): void {
    if (!findings) return
    const key = keyOf(queue)
    const before = this.#told.get(key) ?? byName(queue.status?.patrol?.findings ?? [])
    const now = byName(findings)
    this.#told.set(key, now)
    for (const [name, finding] of now) if (!before.has(name)) this.#record(queue, finding)
    for (const [name, { code, subject }] of before)
      if (!now.has(name))
        this.#events.record(queue, {
          type: 'Normal',
          reason: 'PatrolCleared',
          message: `${code} (${subject}) is not seen any more.`,
        })
  }

  forget(key: ObjectKey): void {
    this.#told.delete(key)
  }

  #record(queue: TaskQueue, finding: ToldFinding): void {
    const needsPerson = finding.severity === 'critical' || finding.severity === 'warning'
    const reason = finding.code === 'Unknown' ? 'PatrolUnknown' : finding.code
    this.#events.record(queue, { type: needsPerson ? 'Warning' : 'Normal', reason, message: sentenceOf(finding) })
  }
}

function byName(findings: readonly ToldFinding[]): ReadonlyMap<string, ToldFinding> {
  const own = findings.filter((finding) => !isInCondition(finding))
  return new Map(own.map((finding) => [`${finding.code} ${finding.subject}`, finding]))
}
