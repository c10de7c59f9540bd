// What is wrong at the moment, told once when it begins, once when it changes and once when it is over: not at every look.

export type Report = (level: 'info' | 'warn', message: string) => void

export class Trouble {
  readonly #report: Report
  readonly #told: (message: string) => string
  readonly #over: string
  #now: string | undefined

  /**
   * @param told the line that is logged for a trouble
   * @param over the line for its end
   */
  constructor(report: Report, told: (message: string) => string, over: string) {
    this.#report = report
    this.#told = told
    this.#over = over
  }

  /** Undefined while all is well. */
  get now(): string | undefined {
    return this.#now
  }

  set(message: string | undefined): void {
    const before = this.#now
    this.#now = message
    if (before === message) return
    if (message === undefined) this.#report('info', this.#over)
    else this.#report('warn', this.#told(message))
  }
}

/** What an error says, by its system code where it has one: short, and without the addresses that change. */
export function text(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}
