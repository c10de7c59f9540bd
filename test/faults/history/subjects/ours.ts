// This project's runtime in a campaign: Node workers, and in `mixed` real Celery workers beside them on the same queue.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TaskApp } from '@taskqueue/runtime'
import { tied } from '../../../../deploy/local/command.ts'
import { celeryBin } from '../../../conformance/support/celery.ts'
import { environment, run, TASKQUEUE } from '../../../fixtures/command.ts'
import { queueKeys } from '../../../../src/runtime/protocol/queue-key.ts'
import { celeryEngine } from '../celeryengine.ts'
import type { Engine, Job, Subject, Surroundings } from '../subject.ts'

const QUEUE = 'history'
const BEAT = 'history'
const APP = join(import.meta.dirname, '../app.ts')
/** Slots that must not be lost, those of which the last counts, and those that are only accounted for. */
const SCHEDULES = `schedules:
- {name: all, task: h.slot, args: [all], everySeconds: 1, queue: ${QUEUE}-slots, catchUp: All, misfireGraceSeconds: 600}
- {name: last, task: h.slot, args: [last], everySeconds: 1, queue: ${QUEUE}-slots, misfireGraceSeconds: 3}
- {name: none, task: h.slot, args: [none], everySeconds: 2, queue: ${QUEUE}-slots, catchUp: None}
`
const PERIODS: Readonly<Record<string, number>> = { all: 1000, last: 1000, none: 2000 }

const url = (port: number): string => `redis://127.0.0.1:${port}/0`

function settings({ brokerPort, ledger, env }: Surroundings): Readonly<Record<string, string>> {
  return {
    TASKQUEUE_BROKER_URL: url(brokerPort),
    TASKQUEUE_LOG_LEVEL: 'warn',
    TASKQUEUE_VISIBILITY_TIMEOUT: '20',
    TASKQUEUE_SHUTDOWN_GRACE_SECONDS: '5',
    TASKQUEUE_DEFAULT_QUEUE: QUEUE,
    // Every fault takes a worker from some message: none is to die of that here.
    TASKQUEUE_MAX_LOST_DELIVERIES: '1000',
    HISTORY_LEDGER: ledger,
    ...env,
  }
}

function taskqueue(args: readonly string[], surroundings: Surroundings): ReturnType<typeof spawn> {
  const [program, ...rest] = tied(process.execPath, [TASKQUEUE, ...args])
  return spawn(program, rest, { env: environment(settings(surroundings)), stdio: ['ignore', 'pipe', 'pipe'] })
}

const node: Engine = {
  name: 'node',
  clockMayBeSet: true,
  start: (surroundings) =>
    taskqueue(['worker', '--app', APP, '--queues', `${QUEUE},${QUEUE}-slots`, '--concurrency', '4'], surroundings),
}

async function send(app: TaskApp, { id, kind, millis, countdown, parts = [] }: Job): Promise<void> {
  if (kind === 'chord') {
    const header = parts.map((part) => app.signature('h.work', [part, millis]))
    await app.chord(header, app.signature('h.body', [id])).delay()
    return
  }
  const task = kind === 'flaky' || kind === 'doomed' ? `h.${kind}` : 'h.work'
  await app.send(task, [id, millis], { id, ...(countdown === undefined ? {} : { countdown }) })
}

async function ours(name: string, label: string, engines: readonly Engine[]): Promise<Subject> {
  return Promise.resolve({
    name,
    label,
    engines,
    promises: {
      later: true,
      retries: true,
      deadLetters: true,
      chords: true,
      beat: true,
      leaseMs: engines.length > 1 ? 25_000 : 15_000,
      earlyMs: 2,
      attempts: true,
    },
    busySlots: engines.length > 1 ? 6 : 12,
    mix: { later: 10, flaky: 4, doomed: 2, chord: 2 },
    producer: (brokerPort) => {
      const app = new TaskApp({ name: 'history', brokerUrl: url(brokerPort), defaultQueue: QUEUE, env: {} })
      return Promise.resolve({ send: (job) => send(app, job), close: () => app.close() })
    },
    beat: (surroundings, folder) => {
      const files = ['--schedules', join(folder, 'schedules.yaml'), '--schedule-file', join(folder, 'schedule.json')]
      return taskqueue(['beat', '--name', BEAT, ...files], surroundings)
    },
    prepare: async (redis, folder, began) => {
      writeFileSync(join(folder, 'schedules.yaml'), SCHEDULES)
      for (const [schedule, period] of Object.entries(PERIODS))
        await redis.hset(`taskqueue:cursors:${BEAT}`, schedule, `${began} 0 0 0 every ${period}`)
    },
    left: async (redis) => {
      const lists = [QUEUE, `${QUEUE}-slots`].flatMap(queueKeys)
      const waiting = await Promise.all(lists.map((list) => redis.llen(list)))
      return (await redis.hlen('unacked')) + waiting.reduce((sum, n) => sum + n, 0)
    },
    end: async (redis, brokerPort, folder, began) => {
      const files = ['--schedules', join(folder, 'schedules.yaml'), '--name', BEAT, '--json']
      const told = await run(['schedule', 'list', ...files], { TASKQUEUE_BROKER_URL: url(brokerPort) })
      const list = JSON.parse(told.stdout) as { name: string; missed: number }[]
      const schedules = await Promise.all(
        list.map(async ({ name: schedule, missed }) => {
          const last = Number((await redis.hget(`taskqueue:cursors:${BEAT}`, schedule))?.split(' ')[0])
          return { name: schedule, missed, passed: (last - began) / (PERIODS[schedule] ?? 1000) }
        }),
      )
      return { dead: await redis.hkeys('taskqueue:dead:letters'), schedules }
    },
  })
}

export const alone = (): Promise<Subject> => ours('ours', 'taskqueue, Node workers', [node])

/** Dead letters are kept by Node's workers only: what dies in Python's leaves its result. */
export const mixed = async (): Promise<Subject> => {
  const subject = await ours('mixed', 'taskqueue, Node and Celery workers', [
    node,
    celeryEngine(await celeryBin('5.7'), QUEUE),
  ])
  return { ...subject, promises: { ...subject.promises, deadLetters: false } }
}
