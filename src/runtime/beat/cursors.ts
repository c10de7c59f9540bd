// What a beat knows of its schedules' last slots: from the broker, whose word counts, and once more in the schedule file for the day
// the broker has lost it. Moves nothing by itself: advance-cursor.lua does, and what it did is noted here.
import type { Cursor, CursorAdvance, Store } from '../broker/store.ts'
import type { Clock } from '../clock.ts'
import { asError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { readScheduleFile, writeScheduleFile } from './schedule-file.ts'

export interface CursorsOptions {
  /** The beat's name in the broker. */
  readonly name: string
  readonly store: Store
  readonly file: string | undefined
  readonly log: Logger
  readonly clock: Clock
}

/** A file whose slot lies so far ahead was written by a clock that was wrong: believed, its schedule would be silent until then. */
const AHEAD_MS = 86_400_000
/** How long a date that has run is remembered once its schedule is gone: it may come back with the next edit, and must not run again. */
const DATES_KEPT_MS = 30 * 86_400_000
/** The file is written at most so often, and for each cursor in it so much less: ten thousand are a megabyte, written in 11 s. */
const SAVE_EVERY_MS = 1000
const SAVE_EVERY_CURSOR_MS = 1

export class Cursors {
  readonly #options: CursorsOptions
  #broker = new Map<string, Cursor>()
  #file = new Map<string, Cursor>()
  #fileProblem: string | undefined
  #unsaved = false
  #saving: Promise<void> | undefined
  #savedAt = -Infinity

  constructor(options: CursorsOptions) {
    this.#options = options
  }

  /** Why the schedule file can't be written; undefined when it can. */
  get fileProblem(): string | undefined {
    return this.#fileProblem
  }

  /** Reads the file, and writes it, so that one that can't be written is told before a slot has fired. @throws TaskQueueError */
  async open(): Promise<void> {
    const { file, log, clock } = this.#options
    if (file === undefined) return
    const { cursors, setAside } = await readScheduleFile(file, clock.now())
    this.#file = cursors
    if (setAside !== undefined) {
      log.error(
        { event: 'schedule-file-corrupt', set_aside: setAside },
        `the schedule file can't be understood; it was kept as ${setAside}`,
      )
    }
    await writeScheduleFile(file, cursors)
  }

  /**
   * Reads the broker's, and takes over into the file what it didn't know: another beat has fired meanwhile, or this one before it was
   * killed.
   * @param now the broker's clock
   */
  async learn(now: number): Promise<void> {
    const { store, name, log } = this.#options
    this.#broker = await store.readCursors(name)
    for (const [schedule, cursor] of this.#broker) {
      const kept = this.#file.get(schedule)
      if (kept && kept.slot >= cursor.slot) continue
      this.#file.set(schedule, cursor)
      this.#unsaved = true
    }
    for (const [schedule, { slot }] of this.#file) {
      if (this.#broker.has(schedule) || slot <= now + AHEAD_MS) continue
      this.#file.delete(schedule)
      this.#unsaved = true
      log.error(
        { event: 'schedule-file-ahead', schedule, scheduled_for: new Date(slot).toISOString() },
        `the schedule file says that ${schedule} ran ${Math.round((slot - now) / 1000)} s ahead of the broker's clock, which nothing else knows of: it is not believed`,
      )
    }
  }

  /**
   * Forgets the cursors of schedules that are gone: one that comes back later owes nothing for the time between. For the beat that
   * fires only: another may have other schedules.
   */
  async forget(schedules: ReadonlySet<string>, now: number): Promise<void> {
    const { store, name } = this.#options
    const gone = (cursors: ReadonlyMap<string, Cursor>): string[] =>
      [...cursors].flatMap(([schedule, { slot, fingerprint }]) => {
        const date = fingerprint.startsWith('at ') && slot + DATES_KEPT_MS > now
        return schedules.has(schedule) || date ? [] : [schedule]
      })
    const lost = gone(this.#broker)
    await store.removeCursors(name, lost)
    for (const schedule of lost) this.#broker.delete(schedule)
    for (const schedule of gone(this.#file)) {
      this.#file.delete(schedule)
      this.#unsaved = true
    }
  }

  of(schedule: string): { readonly broker: Cursor | undefined; readonly file: Cursor | undefined } {
    return { broker: this.#broker.get(schedule), file: this.#file.get(schedule) }
  }

  /** Notes a move that was made. */
  moved({ schedule, to, missed, fingerprint, publications }: CursorAdvance, now: number): void {
    const before = this.#broker.get(schedule) ?? this.#file.get(schedule)
    const cursor: Cursor = {
      slot: to,
      firedAt: publications.length > 0 ? now : (before?.firedAt ?? null),
      runs: (before?.runs ?? 0) + publications.length,
      missed: (before?.missed ?? 0) + missed,
      fingerprint,
    }
    this.#broker.set(schedule, cursor)
    this.#file.set(schedule, cursor)
    this.#unsaved = true
  }

  /** Writes the file in the background, when something moved and it has not just been written. */
  saveSoon(): void {
    const { clock, file } = this.#options
    if (file === undefined || !this.#unsaved || this.#saving !== undefined) return
    if (clock.monotonic() - this.#savedAt < SAVE_EVERY_MS + this.#file.size * SAVE_EVERY_CURSOR_MS) return
    this.#saving = this.#save().finally(() => {
      this.#saving = undefined
      this.#savedAt = clock.monotonic()
    })
  }

  /** Writes what is not yet written. Never rejects. */
  async flush(): Promise<void> {
    await this.#saving
    if (this.#unsaved) await this.#save()
  }

  async #save(): Promise<void> {
    const { file, log } = this.#options
    this.#unsaved = false
    if (file === undefined) return
    try {
      await writeScheduleFile(file, this.#file)
      this.#fileProblem = undefined
    } catch (error) {
      this.#unsaved = true
      if (this.#fileProblem === undefined)
        log.error({ event: 'schedule-file-unwritable', error }, asError(error).message)
      this.#fileProblem = asError(error).message
    }
  }
}
