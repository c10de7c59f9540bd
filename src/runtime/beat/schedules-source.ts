// Where schedules come from: the app, and a YAML file that may change under a running beat. A bad edit keeps what was good.
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { UsageError, asError } from '../errors.ts'
import type { Schedule } from '../triggers/schedule.ts'
import { parseSchedulesFile } from '../triggers/schedules-file.ts'

/** What a look at the sources brought. */
export interface Reading {
  /** False when nothing changed since the last look. */
  readonly changed: boolean
  /** Why the file as it is now can't be used; undefined when it can. */
  readonly problem: string | undefined
}

export class SchedulesSource {
  readonly #path: string | undefined
  readonly #own: readonly Schedule[]
  #seen: string | undefined
  #seenStamp: string | undefined
  #problem: string | undefined
  #schedules: readonly Schedule[]
  #hash = ''

  /** @param own the schedules of the app, which don't change */
  constructor(path: string | undefined, own: readonly Schedule[]) {
    this.#path = path
    this.#own = own
    this.#schedules = own
  }

  /** The last set that was good. */
  get schedules(): readonly Schedule[] {
    return this.#schedules
  }

  /** SHA-256 of the file's bytes that `schedules` came from, in hex; empty before the first good reading or without a file. */
  get hash(): string {
    return this.#hash
  }

  /**
   * Looks at the file itself: a ConfigMap's volume changes through links, which no watch sees. It is read when its inode, size or
   * times are others than before.
   */
  async read(): Promise<Reading> {
    if (this.#path === undefined) return { changed: false, problem: undefined }
    try {
      const { ino, size, mtimeNs, ctimeNs } = await stat(this.#path, { bigint: true })
      const stamp = [ino, size, mtimeNs, ctimeNs].join(' ')
      if (stamp === this.#seenStamp) return { changed: false, problem: this.#problem }
      const bytes = await readFile(this.#path)
      this.#seenStamp = stamp
      const hash = createHash('sha256').update(bytes).digest('hex')
      if (hash === this.#seen) return { changed: false, problem: this.#problem }
      this.#seen = hash
      const schedules = [...this.#own, ...parseSchedulesFile(bytes.toString('utf8'))]
      const names = new Set<string>()
      const twice = schedules.find(({ name }) => names.size === names.add(name).size)
      if (twice) throw new UsageError('ScheduleInvalid', `the schedule ${twice.name} is in the app and in the file`)
      this.#schedules = schedules
      this.#hash = hash
      this.#problem = undefined
      return { changed: true, problem: undefined }
    } catch (error) {
      const problem = `${this.#path}: ${asError(error).message}`
      const changed = problem !== this.#problem
      this.#problem = problem
      if (!(error instanceof UsageError)) this.#seen = this.#seenStamp = undefined
      return { changed, problem }
    }
  }
}
