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

  /** Reads the broker's, and forgets those of schedules that are gone: one that comes back later owes nothing for the time between. */
  async learn(schedules: ReadonlySet<string>): Promise<void> {
    const { store, name } = this.#options
    this.#broker = await store.readCursors(name)
    const gone = [...this.#broker.keys()].filter((schedule) => !schedules.has(schedule))
    await store.removeCursors(name, gone)
    for (const schedule of gone) this.#broker.delete(schedule)
    for (const schedule of this.#file.keys()) if (!schedules.has(schedule)) this.#file.delete(schedule)
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
