// What the runtime remembers outside of queues: presence, leases, cursors, dead letters, results. Redis, also when the
// transport is something else.
import type { ChordCount, DeadLetter, Publication, ResultWrite } from './transport.ts'

/** One field of a presence hash: what a pod says about itself. */
export interface Presence {
  /** TASKQUEUE_POD_UID when set, else `<hostname>:<pid>`. */
  readonly id: string
  /** Grows with every write: unchanged means stale, on the reader's own clock. */
  readonly counter: number
  readonly kind: 'worker' | 'beat' | 'companion'
  readonly hostname: string
  readonly pid: number
  readonly version: string
  /** Host clock minus broker clock in seconds; null while it isn't known. */
  readonly offsetSeconds: number | null
  /** Half of the round trip of that measurement, in seconds: how far the offset may be wrong. */
  readonly offsetErrorSeconds: number | null
  readonly busySlots: number
  readonly slots: number
  readonly queues: readonly string[]
  /** Tasks finished since the start. */
  readonly processed: number
  /** Broker's clock at the last task finished or slot fired, in milliseconds; null before the first. */
  readonly lastProgressAt: number | null
  /** Anything else a kind wants to say, such as beat's lease and loaded schedules. */
  readonly detail?: Readonly<Record<string, unknown>>
}

/** A lease with a fencing token. */
export interface Lease {
  readonly holder: string
  /** Grows with every change of the holder; 0 when nobody holds it. */
  readonly token: number
  readonly held: boolean
}

/** What a step must hold so that it happens. */
export interface LeaseFence {
  readonly name: string
  readonly holder: string
  readonly token: number
}

/** What beat remembers of one schedule. Instants are milliseconds since the epoch, on the broker's clock. */
export interface Cursor {
  /** The last slot that was published or passed over. */
  readonly slot: number
  /** When the last run was published, if ever. */
  readonly firedAt: number | null
  readonly runs: number
  readonly missed: number
  /** Of the trigger that made the slot: an edited schedule starts anew. */
  readonly fingerprint: string
}

/** One move of a schedule's cursor, with the message that belongs to it. */
export interface CursorAdvance {
  readonly schedule: string
  /** The cursor as the caller believes it is; null when it has none. */
  readonly from: number | null
  readonly to: number
  /** Slots between `from` and `to` that were missed. */
  readonly missed: number
  /** Of these slots the newest, the oldest first. */
  readonly missedSlots: readonly number[]
  readonly fingerprint: string
  /** What to publish; undefined moves the cursor only. */
  readonly publications: readonly Publication[]
}

/**
 * Why a move happened or not. `stale`: someone moved the cursor already; `fenced`: the lease is another's; `early`: by the broker's
 * clock the slot is still to come.
 */
export type AdvanceOutcome = 'advanced' | 'stale' | 'fenced' | 'early'

/** A dead letter as it is listed. */
export interface ListedDeadLetter extends DeadLetter {
  /** What it is kept under: the task's id, or `id~number` for another letter of the same id. */
  readonly key: string
}

/** A dead letter with the message it is about. */
export interface StoredDeadLetter extends ListedDeadLetter {
  readonly message: string
}

/** How many dead letters there are. */
export interface DeadLetterSummary {
  readonly count: number
  /** When the newest of them died: milliseconds since the epoch, to the second, by the broker's clock; null when there is none. */
  readonly newestAt: number | null
}

/** A measurement of the broker's clock. */
export interface BrokerTime {
  /** The broker's clock in milliseconds since the epoch. */
  readonly brokerMs: number
  /** Host clock minus broker clock, in milliseconds, the round trip taken into account. */
  readonly offsetMs: number
  /** Half of the round trip. */
  readonly errorMs: number
}

/** How beat's machine stands to the broker. */
export interface BeatClock {
  /** The clock of beat's machine minus the broker's, in seconds. */
  readonly offsetSeconds: number
  /** How far that may be wrong, in seconds. */
  readonly errorSeconds: number
}

/** The same as it is read. */
export interface AgedBeatClock extends BeatClock {
  /** Seconds since it was written, by the broker's clock. */
  readonly ageSeconds: number
}

/** One task of a chord's header, as it is counted. */
export interface ChordPartWrite {
  readonly groupId: string
  readonly taskId: string
  readonly index: number | undefined
  readonly json: string
  readonly ttlSeconds: number
  /** The name of our claim to send the body, should this be the last part. */
  readonly claim: string
  readonly claimSeconds: number
}

/** What a chord's header has come to. */
export interface ChordParts {
  /** As JSON, in the order of their places. */
  readonly parts: readonly string[]
  /** The shape of what the body is given, where that is no plain list. */
  readonly shape: string | undefined
}

/** `waiting`: parts are missing; `claimed`: the body is ours to send; `elsewhere`: it is another's; `done`: it was sent. */
export type ChordState = 'waiting' | 'claimed' | 'elsewhere' | 'done'

export interface Store {
  connect(): Promise<void>
  ping(): Promise<void>
  time(): Promise<BrokerTime>
  writePresence(key: string, presence: Presence, ttlSeconds: number): Promise<void>
  removePresence(key: string, id: string): Promise<void>
  readPresence(key: string): Promise<Presence[]>
  /** Asks the processes with these ids, and no others, to take nothing any more, for `ttlSeconds`; none lets all go on. */
  writeDraining(presenceKey: string, ids: readonly string[], ttlSeconds: number): Promise<void>
  /** Whether a process is asked to take nothing any more. */
  readDraining(presenceKey: string, id: string): Promise<boolean>
  /** Says beside the presence hash how beat's machine stands to the broker. */
  writeBeatClock(presenceKey: string, clock: BeatClock): Promise<void>
  readBeatClock(presenceKey: string): Promise<AgedBeatClock | undefined>
  /** Takes the lease when it is free, renews it when it is ours; tells who holds it. */
  acquireLease(name: string, holder: string, ttlMs: number): Promise<Lease>
  releaseLease(name: string, holder: string): Promise<void>
  readCursors(beat: string): Promise<Map<string, Cursor>>
  /** One atomic step: checks the token, compares the cursor, moves it and publishes. Repeating it publishes nothing. */
  advanceCursor(beat: string, lease: LeaseFence, advance: CursorAdvance): Promise<AdvanceOutcome>
  /** Forgets cursors, while the lease is held: false when it isn't any more, and nothing is done then. */
  removeCursors(beat: string, lease: LeaseFence, schedules: readonly string[]): Promise<boolean>
  /** The newest slots of each schedule that were missed, the oldest first. */
  readMissedSlots(beat: string): Promise<ReadonlyMap<string, readonly number[]>>
  /** The schedules of a beat that somebody has paused. */
  readPausedSchedules(beat: string): Promise<ReadonlySet<string>>
  /** @returns false when it was so already */
  pauseSchedule(beat: string, schedule: string, paused: boolean): Promise<boolean>
  readResult(taskId: string): Promise<string | undefined>
  writeResult(result: ResultWrite): Promise<void>
  /** Calls back whenever a result of the task is stored, until the returned function is called. */
  watchResult(taskId: string, onResult: (json: string) => void): Promise<() => Promise<void>>
  /** Counts one task of a chord's header, once however often it is told. */
  chordPart(part: ChordPartWrite): Promise<ChordState>
  readChordParts(groupId: string): Promise<ChordParts>
  /** Begins to count, where results live elsewhere than queues. */
  countChord(count: ChordCount): Promise<void>
  /** Ends a chord whose claim is ours; false when it isn't any more. */
  endChord(groupId: string, claim: string): Promise<boolean>
  /** Remembers ids of tasks that were called off, for workers that start later. */
  saveRevoked(ids: readonly string[], ttlMs: number, most: number): Promise<void>
  readRevoked(): Promise<string[]>
  countDeadLetters(): Promise<number>
  deadLetters(): Promise<DeadLetterSummary>
  /** The newest first. */
  listDeadLetters(limit: number): Promise<ListedDeadLetter[]>
  readDeadLetter(key: string): Promise<StoredDeadLetter | undefined>
  /** Publishes the message again and removes the letter, at once; false when there is no such letter. */
  reviveDeadLetter(key: string, publication: Publication): Promise<boolean>
  dropDeadLetters(keys: readonly string[]): Promise<number>
  close(): Promise<void>
}
