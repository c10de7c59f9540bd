// What a beat knows of its schedules' last slots: from the broker, whose word counts, and once more in the schedule file for the day
// the broker has lost it. Moves nothing by itself: advance-cursor.lua does, and what it did is noted here.
import type { Cursor, CursorAdvance, LeaseFence, Store } from '../broker/store.ts'
import type { Clock } from '../clock.ts'
import { asError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { KnownCursors } from './plan.ts'
import { readScheduleFile, writeScheduleFile } from './schedule-file.ts'

export interface CursorsOptions {
  /** The beat's name in the broker. */
  readonly name: string
  readonly store: Store
  readonly file: string | undefined
  readonly log: Logger
  readonly clock: Clock
}

/** The schedules that there are, by name. */
type Names = Pick<ReadonlySet<string>, 'has'>

/** A file whose slot lies so far ahead was written by a clock that was wrong: believed, its schedule would be silent until then. */
const AHEAD_MS = 86_400_000
/** A date is remembered as long as any grace time could make it run again (a year), whether its schedule is there or not. */
const DATES_KEPT_MS = 366 * 86_400_000
/** One that is gone for shorter than this was left out by mistake, or of a file that was half written: its slots are still owed. */
const FORGET_MS = 60_000
/** The file is written at most so often, and for each cursor in it so much less: ten thousand are a megabyte, written in 11 s. */
const SAVE_EVERY_MS = 1000
const SAVE_EVERY_CURSOR_MS = 1

export class Cursors {
  readonly #options: CursorsOptions
  #broker = new Map<string, Cursor>()
  #file = new Map<string, Cursor>()
  /** By the monotonic clock, since when schedules that are known of have been gone. */
  readonly #goneSince = new Map<string, number>()
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
        { event: 'schedule-file-corrupt', setAside: setAside },
        `the schedule file can't be understood; it was kept as ${setAside}`,
      )
    }
    await writeScheduleFile(file, cursors)
  }

  /**
   * Reads the broker's, and takes over into the file what it didn't know: another beat has fired meanwhile, or this one before it was
   * killed. What only the file knows is believed where the broker has nothing of this beat at all, since it was emptied; else its
   * schedule was gone for a while, and owes nothing for that.
   * @param now the broker's clock
   */
  async learn(now: number, schedules: Names): Promise<void> {
    const { store, name } = this.#options
    this.#broker = await store.readCursors(name)
    for (const [schedule, cursor] of this.#broker) {
      const kept = this.#file.get(schedule)
      if (kept && kept.slot >= cursor.slot && !this.#isFarAhead(schedule, kept, now)) continue
      this.#file.set(schedule, cursor)
      this.#unsaved = true
    }
    for (const [schedule, kept] of this.#file) {
      if (this.#broker.has(schedule)) continue
      const stale = this.#broker.size > 0 && !isDate(kept) && schedules.has(schedule)
      if (!this.#isFarAhead(schedule, kept, now) && !stale) continue
      this.#file.delete(schedule)
      this.#unsaved = true
    }
  }

  /** Whether the file has it from a clock that was wrong, which is told. */
  #isFarAhead(schedule: string, { slot }: Cursor, now: number): boolean {
    if (slot <= now + AHEAD_MS) return false
    this.#options.log.error(
      { event: 'schedule-file-ahead', schedule, scheduledFor: new Date(slot).toISOString() },
      `the schedule file says that ${schedule} ran ${Math.round((slot - now) / 1000)} s ahead of the broker's clock, which nothing else knows of: it is not believed`,
    )
    return true
  }

  /**
   * Forgets the cursors of schedules that have been gone for a minute: one that comes back later owes nothing for the time between. For
   * the beat that fires only: another may have other schedules, and has no lease to show.
   */
  async forget(schedules: Names, lease: LeaseFence, now: number): Promise<void> {
    const { store, name, clock } = this.#options
    const at = clock.monotonic()
    const known = new Set([...this.#broker.keys(), ...this.#file.keys()])
    for (const schedule of this.#goneSince.keys()) if (schedules.has(schedule)) this.#goneSince.delete(schedule)
    const lost: string[] = []
    for (const schedule of known) {
      const cursor = this.#broker.get(schedule) ?? this.#file.get(schedule)
      if (schedules.has(schedule) || (cursor && isDate(cursor) && cursor.slot + DATES_KEPT_MS > now)) continue
      const since = this.#goneSince.get(schedule) ?? at
      this.#goneSince.set(schedule, since)
      if (at - since >= FORGET_MS) lost.push(schedule)
    }
    if (lost.length === 0 || !(await store.removeCursors(name, lease, lost))) return
    for (const schedule of lost) {
      this.#goneSince.delete(schedule)
      this.#broker.delete(schedule)
      this.#unsaved = this.#file.delete(schedule) || this.#unsaved
    }
  }

  of(schedule: string): KnownCursors {
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

function isDate({ fingerprint }: Cursor): boolean {
  return fingerprint.startsWith('at ')
}
