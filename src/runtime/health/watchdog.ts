// The main thread's side of the watchdog: starts the thread that answers the health port, starts it again should it die, and answers what
// that asks. What is alive is judged there.
import { Worker } from 'node:worker_threads'
import { UsageError, asError } from '../errors.ts'
import { TURN_MS } from './loop-judge.ts'
import type { LoopNotes } from './loop-notes.ts'
import { answerOf, jsonAnswer, type HealthAnswer, type HealthServer, type HealthSource } from './server.ts'
import type { FromWatchdog, ToWatchdog, WatchdogData } from './watchdog-thread.ts'

/** The thread runs from the sources as well as from dist. */
const THREAD = new URL(`./watchdog-thread.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)
/** Milliseconds before a thread that died is started again. */
const RESTART_MS = 500

export interface WatchdogOptions {
  /** What runs on this event loop. */
  readonly notes: LoopNotes
  /** For how long the loop may be held while no task runs. */
  readonly noTaskSeconds: number
  readonly onTrouble: (message: string) => void
}

/**
 * Opens the health port on all addresses; it is answered also while this event loop is held.
 * @param port 0 takes a free one
 * @throws UsageError `HealthPortTaken`, `HealthPortRefused`
 */
export async function serveWatched(
  port: number,
  source: HealthSource,
  options: WatchdogOptions,
): Promise<HealthServer> {
  const watchdog = new Watchdog(source, options)
  return { port: await watchdog.start(port), close: () => watchdog.close() }
}

class Watchdog {
  readonly #source: HealthSource
  readonly #options: WatchdogOptions
  #thread: Worker | undefined
  #turning: NodeJS.Timeout | undefined
  #told = ''
  #closed = false

  constructor(source: HealthSource, options: WatchdogOptions) {
    this.#source = source
    this.#options = options
  }

  async start(port: number): Promise<number> {
    const chosen = await this.#begin(port)
    this.#turning ??= setInterval(() => this.#turn(), TURN_MS).unref()
    this.#turn()
    return chosen
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#turning)
    await this.#thread?.terminate()
  }

  /** Resolves with the port once the thread listens. */
  #begin(port: number): Promise<number> {
    const { notes, noTaskSeconds } = this.#options
    const data: WatchdogData = { port, memory: notes.memory, noTaskMs: noTaskSeconds * 1000 }
    const thread = new Worker(THREAD, {
      name: 'taskqueue-health',
      workerData: data,
      // It holds a few requests.
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 },
    })
    this.#thread = thread
    this.#told = ''
    return new Promise((resolve, reject) => {
      thread.on('message', (message: FromWatchdog) => {
        if (message.kind === 'ask') void this.#answer(thread, message.id, message.path)
        else if (message.kind === 'refused') {
          reject(new UsageError(message.code, message.message))
          void thread.terminate()
        } else {
          // From here on it must not be what keeps the process from ending.
          thread.unref()
          thread.on('exit', () => this.#restart(message.port))
          resolve(message.port)
        }
      })
      thread.on('error', (error) => {
        this.#options.onTrouble(`the thread of the health port died: ${String(error)}`)
        reject(asError(error))
      })
      thread.on('exit', () => reject(new Error('the thread of the health port ended before it listened')))
    })
  }

  #restart(port: number): void {
    if (this.#closed) return
    setTimeout(() => {
      if (this.#closed) return
      this.#begin(port).then(
        () => this.#turn(),
        (error: unknown) => {
          this.#options.onTrouble(`the health port is not answered: ${asError(error).message}`)
          this.#restart(port)
        },
      )
    }, RESTART_MS).unref()
  }

  /** The loop turns; what its owner says is passed on when it is news. */
  #turn(): void {
    this.#options.notes.turn()
    const { ok, message } = this.#source.livez()
    if (this.#told === message) return
    this.#told = message
    this.#thread?.postMessage({ kind: 'livez', own: { ok, message } } satisfies ToWatchdog)
  }

  async #answer(thread: Worker, id: number, path: string): Promise<void> {
    let answer: HealthAnswer
    try {
      answer = await answerOf(path, this.#source)
    } catch (error) {
      answer = jsonAnswer(500, { error: asError(error).message })
    }
    thread.postMessage({ kind: 'answer', id, answer } satisfies ToWatchdog)
  }
}
