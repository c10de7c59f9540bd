// The ConfigMap from which a Declared beat reads its schedules, and the check of what CEL can't see in them. Pure but for the memory of
// what was checked.

import { createHash } from 'node:crypto'
import { checkZone, parseSchedules } from '@taskqueue/runtime/triggers'
import { stringify } from 'yaml'
import { messageOf } from '../errors.ts'
import type { LiveConfigMap } from '../objects.ts'
import type { BeatSpec, Schedule, TaskQueue } from '../taskqueue.ts'
import { childMetadata, labels, names } from './names.ts'

export const SCHEDULES_FILE = 'schedules.yaml'

/** The file's text. Its form is that of `taskqueue beat --schedules`. */
function schedulesFile(beat: BeatSpec, schedules: Schedule[]): string {
  return stringify({ timeZone: beat.timeZone, schedules }, { lineWidth: 0, sortMapEntries: false })
}

export function schedulesConfigMap(queue: TaskQueue, { file }: CheckedSchedules): LiveConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: childMetadata(queue, names.schedules(queue), labels(queue, 'beat')),
    data: { [SCHEDULES_FILE]: file },
  }
}

/** Short and stable, for an annotation and for status. */
export function schedulesHash(configMap: LiveConfigMap | undefined): string | undefined {
  const text = configMap?.data?.[SCHEDULES_FILE]
  return text === undefined ? undefined : shortHash(createHash('sha256').update(text).digest('hex'))
}

/** Enough of a SHA-256 in hex to tell two sets of schedules apart, and short enough to read. Beat says the whole. */
export function shortHash(hash: string): string {
  return hash.slice(0, 16)
}

export interface CheckedSchedules {
  readonly valid: readonly Schedule[]
  /** A sentence for each schedule that can't be run, saying what is wrong and what to write instead. */
  readonly problems: readonly string[]
  /** What beat reads: those that are valid. */
  readonly file: string
}

/** Reading a cron line costs more than all else that is built, and a spec is looked at again and again. */
const checked = new Map<string, CheckedSchedules>()
/** Characters of schedules that are remembered. */
const MOST_CHECKED = 2_000_000
let remembered = 0

/**
 * Sorts out the schedules that beat would refuse, by the very check that beat makes. A zone that doesn't exist spoils all of
 * them: none is known to be meant in another.
 */
export function checkSchedules(beat: BeatSpec): CheckedSchedules {
  const text = JSON.stringify([beat.timeZone, beat.schedules])
  const known = checked.get(text)
  if (known) return known
  const { valid, problems } = sorted(beat)
  const result = { valid, problems, file: schedulesFile(beat, valid) }
  if (remembered > MOST_CHECKED) {
    checked.clear()
    remembered = 0
  }
  checked.set(text, result)
  remembered += text.length
  return result
}

function sorted(beat: BeatSpec): { valid: Schedule[]; problems: string[] } {
  const zone = problemOf(() => checkZone(beat.timeZone))
  if (zone !== undefined) return { valid: [], problems: [`spec.beat.timeZone: ${zone}.`] }
  const problems: string[] = []
  const valid = (beat.schedules ?? []).filter((schedule) => {
    const problem = problemOf(() => parseSchedules([schedule], beat.timeZone))
    if (problem !== undefined) problems.push(`spec.beat.schedules: ${problem}.`)
    return problem === undefined
  })
  return { valid, problems }
}

function problemOf(check: () => unknown): string | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}
