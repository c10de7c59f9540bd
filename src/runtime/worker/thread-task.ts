// What runs in a thread of the pool: loads the app once and runs its hooks, then runs one task at a time. Its messages are in thread-messages.ts.
import { BroadcastChannel, workerData, type MessagePort } from 'node:worker_threads'
import { asError } from '../errors.ts'
import { loadApp } from '../load-app.ts'
import { createLog, type Logger } from '../log.ts'
import { formatInstant, startTime } from '../protocol/instant.ts'
import { RejectRequest, RetryRequest, type RetryOptions, type TaskContext } from '../task.ts'
import type { TaskApp } from '../app.ts'
import { asTask, failTask, type CurrentTask } from '../current-task.ts'
import type { TraceHeaders } from '../trace-headers.ts'
import { AttemptEnd, rejectionText } from './attempt-end.ts'
import { withBuiltins } from './builtin-tasks.ts'
import { askRetry, TaskAborted } from './execution.ts'
import { isFinal } from './retry.ts'
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

const settings = workerData as ThreadSettings
const log = createLog({ level: settings.logLevel, fields: settings.logFields })
// At once: the first task should not wait for it.
let loading: Promise<TaskApp> | undefined = load()
// Who asks for the app hears of it.
loading.catch(() => undefined)

async function load(): Promise<TaskApp> {
  const app = await loadApp(settings.appFile)
  await app.runStartHooks()
  return app
}

/** The app, whose onStart hooks have run. One that can't be loaded now may be at the next try. */
async function loaded(): Promise<TaskApp> {
  try {
    return await (loading ??= load())
  } catch (error) {
    loading = undefined
    throw error
  }
}

// A task fails with its promise that nobody looked at; with one that is no task's, this thread ends and another takes its place.
process.on('unhandledRejection', (reason) => {
  const error = asError(reason)
  if (!failTask(error, log)) throw error
})

async function stop(): Promise<void> {
  try {
    const app = await loading
    await app?.runStopHooks((error) => log.error({ event: 'hook-failed', error }, 'an onStop hook failed'))
    await app?.close()
  } catch {
    // An app that was never loaded has nothing to close.
  }
}

const channel = new BroadcastChannel(settings.channel)
channel.onmessage = (event: unknown) => {
  if ((event as { data: StopMessage }).data === 'stop')
    void stop().then(() => channel.postMessage('stopped' satisfies StopMessage))
}
channel.unref()

/** Called by the pool: for each task, and once without one, to hear whether the app can be loaded. */
export default async function runTask({ task, port }: ThreadCall): Promise<ThreadOutcome> {
  try {
    const app = await loaded()
    if (!task || !port) return { kind: 'value', json: undefined }
    const registered = withBuiltins(app.tasks).get(task.task)
    if (!registered) throw new Error(`no task named ${task.task} is registered in this thread`)
    const context = new ThreadContext(task, port, log)
    const call = (): unknown => asTask(context, () => registered.handler(context, ...task.args))
    try {
      const { tracing } = app
      const running = tracing ? () => tracing.resume(task.trace, call) : call
      const value: unknown = await context.outcome(running())
      return { kind: 'value', json: JSON.stringify(value) }
    } catch (thrown) {
      return outcomeOf(thrown, (error) => isFinal(error, registered.options.noRetryFor ?? []))
    }
  } catch (thrown) {
    return { kind: 'error', error: plain(thrown, false) }
  } finally {
    port?.close()
  }
}

function outcomeOf(thrown: unknown, final: (error: unknown) => boolean): ThreadOutcome {
  if (thrown instanceof RejectRequest) return { kind: 'reject', reason: thrown.message }
  if (!(thrown instanceof RetryRequest)) return { kind: 'error', error: plain(thrown, final(thrown)) }
  const { countdown, eta, maxRetries, error } = thrown.options
  const at = eta === undefined ? undefined : startTime({ eta }, Date.now())
  return {
    kind: 'retry',
    countdown,
    eta: at === undefined ? undefined : formatInstant(at),
    maxRetries,
    error: error === undefined ? undefined : plain(error, false),
  }
}

function plain(thrown: unknown, final: boolean): PlainError {
  const { name, message, stack } = asError(thrown)
  return { name, message, stack, final }
}

class ThreadContext implements TaskContext, CurrentTask {
  readonly id: string
  readonly rootId: string
  readonly trace: TraceHeaders
  readonly logFields: ThreadTask['logFields']
  readonly task: string
  readonly queue: string
  readonly attempt: number
  readonly redelivered: boolean
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, unknown>>
  readonly scheduledFor: number | undefined
  readonly log: Logger
  readonly #port: MessagePort
  readonly #controller = new AbortController()
  readonly #end = new AttemptEnd()
  readonly #waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  #number = 0

  constructor(task: ThreadTask, port: MessagePort, log: Logger) {
    this.id = task.id
    this.rootId = task.rootId
    this.trace = task.trace
    this.logFields = task.logFields
    this.task = task.task
    this.queue = task.queue
    this.attempt = task.attempt
    this.redelivered = task.redelivered
    this.kwargs = task.kwargs
    this.headers = task.headers
    this.scheduledFor = task.scheduledFor
    this.log = log.child(task.logFields)
    this.#port = port
    port.on('message', (message: ToThread) => this.#hear(message))
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  outcome(running: unknown): Promise<unknown> {
    return this.#end.of(running)
  }

  fail(error: Error): boolean {
    if (!this.#end.fail(error)) return false
    this.#controller.abort(new TaskAborted('UnhandledRejection', rejectionText(error)))
    return true
  }

  retry(options: RetryOptions = {}): never {
    return askRetry(options)
  }

  reject(reason: string): never {
    throw new RejectRequest(reason)
  }

  progress(meta: unknown): Promise<void> {
    const message: FromThread = { kind: 'progress', number: ++this.#number, meta: JSON.stringify(meta ?? null) }
    return new Promise((resolve, reject) => {
      this.#waiting.set(message.number, { resolve, reject })
      this.#port.postMessage(message)
    })
  }

  #hear(message: ToThread): void {
    if (message.kind === 'abort') {
      this.#controller.abort(new TaskAborted(message.code, message.message))
      return
    }
    const waiting = this.#waiting.get(message.number)
    this.#waiting.delete(message.number)
    if (message.error === undefined) waiting?.resolve()
    else waiting?.reject(new Error(message.error))
  }
}
