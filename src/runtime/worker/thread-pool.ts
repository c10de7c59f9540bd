// The pool `threads`: each task in a thread of its own, for work that would hold up the event loop. A thread that has to end is ended,
// and the worker goes on. What runs in the threads is thread-task.ts.
import { randomUUID } from 'node:crypto'
import { BroadcastChannel, MessageChannel } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { pause, type Clock } from '../clock.ts'
import { asError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { RejectRequest, RetryRequest, makePermanent, type RegisteredTask } from '../task.ts'
import type { Execution } from './execution.ts'
import type { TaskPool } from './pool.ts'
import type {
  FromThread,
  PlainError,
  StopMessage,
  ThreadCall,
  ThreadOutcome,
  ThreadSettings,
  ThreadTask,
  ToThread,
} from './thread-messages.ts'

/** The threads run from the sources as well as from dist. */
const THREAD = new URL(`./thread-task.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

/** How long onStop hooks may take in threads. Milliseconds. */
const STOP_MS = 5000
/** More threads than this are never wanted, however far the pool may grow. */
const MOST_THREADS = 256

export interface ThreadPoolDeps {
  readonly settings: Omit<ThreadSettings, 'channel'>
  readonly concurrency: number
  readonly clock: Clock
  readonly log: Logger
}

interface Running {
  readonly controller: AbortController
  ended?: Error
}

export class ThreadPool implements TaskPool {
  readonly name = 'taskqueue:threads'
  readonly endsTasks = true
  readonly #pool: Piscina
  readonly #channel = `taskqueue-pool-${randomUUID()}`
  readonly #clock: Clock
  readonly #log: Logger
  readonly #running = new Map<Execution, Running>()

  constructor({ settings, concurrency, clock, log }: ThreadPoolDeps) {
    this.#clock = clock
    this.#log = log
    this.#pool = new Piscina({
      filename: THREAD.href,
      workerData: { ...settings, channel: this.#channel } satisfies ThreadSettings,
      minThreads: 1,
      // The runner asks for no more than there are slots, whose number may be changed while it runs.
      maxThreads: Math.max(concurrency, MOST_THREADS),
      // A thread keeps the connections that its hooks have opened.
      idleTimeout: Infinity,
      concurrentTasksPerWorker: 1,
      // Waiting in Atomics would hold up the app's own connections between two tasks.
      atomics: 'disabled',
    })
    // Each task has its error told by its own rejection; what comes here belongs to none.
    this.#pool.on('error', (error: unknown) =>
      this.#log.error(
        { event: 'thread-failed', error: asError(error) },
        'a thread of the pool failed outside of a task',
      ),
    )
  }

  /** Each thread runs the hooks for itself; what fails in the first would fail in all. */
  async start(): Promise<void> {
    valueOf((await this.#pool.run({} satisfies ThreadCall)) as ThreadOutcome)
  }

  async run(task: RegisteredTask, execution: Execution, args: readonly unknown[]): Promise<unknown> {
    const { port1, port2 } = new MessageChannel()
    const running: Running = { controller: new AbortController() }
    this.#running.set(execution, running)
    const send = (message: ToThread): void => port1.postMessage(message)
    execution.onAbort(({ code, message }) => {
      send({ kind: 'abort', code, message })
      // Celery's terminate is the end of a process; of one that was called off nothing is wanted any more.
      if (code === 'Revoked') this.end(execution, new Error(message))
    })
    port1.on('message', (message: FromThread) => void reportProgress(execution, message, send))
    try {
      const call: ThreadCall = { task: threadTask(task.name, execution, args), port: port2 }
      const options = { transferList: [port2], signal: running.controller.signal }
      return valueOf((await this.#pool.run(call, options)) as ThreadOutcome)
    } catch (error) {
      throw running.ended ?? error
    } finally {
      this.#running.delete(execution)
      port1.close()
    }
  }

  end(execution: Execution, reason: Error): void {
    const running = this.#running.get(execution)
    if (!running) return
    running.ended ??= reason
    running.controller.abort()
  }

  async close(): Promise<void> {
    // What still runs was given back: its thread would not hear that it shall stop.
    for (const execution of [...this.#running.keys()]) this.end(execution, new Error('the worker has stopped'))
    await this.#stopThreads()
    await this.#pool.destroy()
  }

  /** Has the threads run their onStop hooks. */
  async #stopThreads(): Promise<void> {
    const channel = new BroadcastChannel(this.#channel)
    // One that hangs does not answer.
    let left = this.#pool.threads.length
    const all = new Promise<void>((resolve) => {
      channel.onmessage = (event: unknown) => {
        if ((event as { data: StopMessage }).data === 'stopped' && --left === 0) resolve()
      }
    })
    channel.postMessage('stop' satisfies StopMessage)
    if (left > 0) await Promise.race([all, pause(this.#clock, STOP_MS)])
    channel.close()
  }
}

async function reportProgress(
  execution: Execution,
  { number, meta }: FromThread,
  send: (message: ToThread) => void,
): Promise<void> {
  let error: string | undefined
  try {
    await execution.progress(JSON.parse(meta))
  } catch (thrown) {
    error = asError(thrown).message
  }
  send({ kind: 'progressed', number, error })
}

function threadTask(name: string, execution: Execution, args: readonly unknown[]): ThreadTask {
  const { id, rootId, queue, attempt, redelivered, scheduledFor, headers, trace, kwargs, logFields } = execution
  const call = { headers, kwargs, args, trace, logFields }
  return { id, rootId, task: name, queue, attempt, redelivered, scheduledFor, ...call }
}

/** @throws what the handler threw, as well as it can be told */
function valueOf(outcome: ThreadOutcome): unknown {
  switch (outcome.kind) {
    case 'value':
      return outcome.json === undefined ? undefined : JSON.parse(outcome.json)
    case 'error':
      throw revived(outcome.error)
    case 'reject':
      throw new RejectRequest(outcome.reason)
    case 'retry': {
      const { countdown, eta, maxRetries, error } = outcome
      throw new RetryRequest({
        ...(countdown === undefined ? {} : { countdown }),
        ...(eta === undefined ? {} : { eta }),
        ...(maxRetries === undefined ? {} : { maxRetries }),
        ...(error === undefined ? {} : { error: revived(error) }),
      })
    }
  }
}

function revived({ name, message, stack, final }: PlainError): Error {
  const error = new Error(message)
  error.name = name
  if (stack !== undefined) error.stack = stack
  return final ? makePermanent(error) : error
}
