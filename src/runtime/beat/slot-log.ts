// What a beat says of slots, in its log and its metrics: fired, missed, refused. It decides nothing.
import { asError } from '../errors.ts'
import { createBeatMetrics, type BeatGauges, type BeatMetrics } from '../health/beat-metrics.ts'
import type { Registry } from 'prom-client'
import type { Logger } from '../log.ts'
import type { AppEvents } from '../reports.ts'
import type { Schedule } from '../triggers/schedule.ts'

/** Told of slots that were not sent. It does not throw. */
export type OnMissed = (missed: AppEvents['missed']) => void

/** A slot later than this is worth a word. */
const LATE_SECONDS = 5

export class SlotLog {
  readonly #log: Logger
  readonly #metrics: BeatMetrics
  readonly #onMissed: OnMissed | undefined
  #runs = 0
  #missed = 0
  #lastFiredAt: number | null = null

  constructor(log: Logger, registry: Registry, gauges: BeatGauges, onMissed?: OnMissed) {
    this.#log = log
    this.#onMissed = onMissed
    this.#metrics = createBeatMetrics(registry, gauges)
  }

  /** Slots published by this process. */
  get runs(): number {
    return this.#runs
  }

  /** Slots missed, as far as this process found them. */
  get missed(): number {
    return this.#missed
  }

  /** Broker's clock at the last slot published. */
  get lastFiredAt(): number | null {
    return this.#lastFiredAt
  }

  /** @param now the broker's clock */
  fired(schedule: Schedule, slot: number, id: string, now: number): void {
    const lateness = Math.max(0, now - slot - schedule.jitterMs(slot)) / 1000
    this.#runs += 1
    this.#lastFiredAt = now
    this.#metrics.runs.inc({ schedule: schedule.name })
    this.#metrics.lateness.observe(lateness)
    const fields = {
      event: 'schedule-fired',
      ...fieldsOf(schedule, slot),
      taskId: id,
      latenessSeconds: Math.round(lateness * 1000) / 1000,
    }
    if (lateness > LATE_SECONDS) this.#log.warn(fields, `${schedule.name} fired ${Math.round(lateness)} s late`)
    else this.#log.info(fields, `${schedule.name} fired`)
  }

  /**
   * @param slots the newest of them, the newest last
   * @param now the broker's clock
   */
  passedOver(schedule: Schedule, slots: readonly number[], count: number, now: number): void {
    if (count === 0) return
    this.#count(schedule, count)
    const { catchUp, misfireGraceSeconds, name } = schedule
    for (const slot of slots) {
      this.#log.warn(
        { event: 'job-missed', ...fieldsOf(schedule, slot), missedCount: count },
        `JOB_MISSED: the slot of ${name} at ${new Date(slot).toISOString()} was not run (catchUp ${catchUp}, misfireGraceSeconds ${misfireGraceSeconds})`,
      )
    }
    const reason = `it was too late (catchUp ${catchUp}, misfireGraceSeconds ${misfireGraceSeconds})`
    this.#onMissed?.({ ...missedSlot(schedule, slots.at(-1) ?? now, now), reason, count })
  }

  /** @param now the broker's clock */
  refused(schedule: Schedule, slot: number, thrown: unknown, now: number): void {
    const error = asError(thrown)
    this.#count(schedule, 1)
    this.#log.error(
      { event: 'job-missed', error, ...fieldsOf(schedule, slot) },
      `JOB_MISSED: the slot of ${schedule.name} can't be sent: ${error.message}`,
    )
    const reason = `it can't be sent: ${error.message}`
    this.#onMissed?.({ ...missedSlot(schedule, slot, now), reason, count: 1, error })
  }

  #count(schedule: Schedule, count: number): void {
    this.#missed += count
    this.#metrics.missed.inc({ schedule: schedule.name }, count)
  }
}

function fieldsOf({ name, task }: Schedule, slot: number): { schedule: string; task: string; scheduledFor: string } {
  return { schedule: name, task, scheduledFor: new Date(slot).toISOString() }
}

function missedSlot(
  { name, task }: Schedule,
  slot: number,
  now: number,
): Pick<AppEvents['missed'], 'schedule' | 'task' | 'scheduledFor' | 'latenessSeconds'> {
  return { schedule: name, task, scheduledFor: new Date(slot), latenessSeconds: Math.max(0, now - slot) / 1000 }
}
