// The thread that answers the health port: a held event loop can't starve it. /livez is decided here, from shared memory; the rest is asked
// of the main thread, within a time limit.
import { parentPort, workerData } from 'node:worker_threads'
import { sharedNow } from '../clock.ts'
import { UsageError, asError } from '../errors.ts'
import { LoopWatch, TURN_MS, judgeLoop } from './loop-judge.ts'
import { LoopNotes } from './loop-notes.ts'
import { healthAnswer, jsonAnswer, openPort, type Health, type HealthAnswer } from './server.ts'

export interface WatchdogData {
  readonly port: number
  /** Of loop-notes.ts. */
  readonly memory: SharedArrayBuffer
  /** For how long the loop may be held while no task runs. Milliseconds. */
  readonly noTaskMs: number
}

/** What the thread says. */
export type FromWatchdog =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'refused'; readonly code: UsageError['code']; readonly message: string }
  | { readonly kind: 'ask'; readonly id: number; readonly path: string }

/** What the main thread says. */
export type ToWatchdog =
  | { readonly kind: 'livez'; readonly own: Pick<Health, 'ok' | 'message'> }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: HealthAnswer }

/** Below a probe's own limit of 5 s. */
const ANSWER_WITHIN_MS = 2000
/** Requests that wait for the main thread at once; beyond them the answer is known already. */
const MOST_WAITING = 32

const data = workerData as WatchdogData
const notes = new LoopNotes(data.memory)
const watch = new LoopWatch()
const waiting = new Map<number, (answer: HealthAnswer) => void>()
let own: Health = { ok: true, message: 'alive' }
let asked = 0

function post(message: FromWatchdog): void {
  parentPort?.postMessage(message)
}

function look(): number {
  const { heldMs, stoppedMs } = watch.look(notes.turns, sharedNow())
  if (stoppedMs > 0) notes.noteStopped(stoppedMs)
  return heldMs
}

function respond(path: string): HealthAnswer | Promise<HealthAnswer> {
  if (path === '/livez') return healthAnswer(livez())
  if (waiting.size >= MOST_WAITING) return unanswered(path)
  const id = asked++
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(unanswered(path)), ANSWER_WITHIN_MS)
    const done = (answer: HealthAnswer): void => {
      clearTimeout(timer)
      waiting.delete(id)
      resolve(answer)
    }
    waiting.set(id, done)
    post({ kind: 'ask', id, path })
  })
}

function livez(): Health {
  return judgeLoop(look(), notes.running(), own, data.noTaskMs)
}

/** Why nothing was said in time: as far as that is known it is in the words of /livez. */
function unanswered(path: string): HealthAnswer {
  const { message, detail } = livez()
  const text = `the main thread did not answer within ${ANSWER_WITHIN_MS / 1000} s: ${message}`
  return path === '/metrics'
    ? jsonAnswer(504, { error: text, ...detail })
    : healthAnswer({ ok: false, message: text, ...(detail ? { detail } : {}) })
}

parentPort?.on('message', (message: ToWatchdog) => {
  if (message.kind === 'livez') own = message.own
  else waiting.get(message.id)?.(message.answer)
})
setInterval(look, TURN_MS)
openPort(data.port, respond).then(
  ({ port }) => post({ kind: 'listening', port }),
  (error: unknown) => {
    const code = error instanceof UsageError ? error.code : 'HealthPortRefused'
    post({ kind: 'refused', code, message: asError(error).message })
  },
)
