// Celery alone in a campaign: tasks acknowledged late and rejected when their worker is lost, a short visibility timeout, its own producer.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { tied } from '../../../../deploy/local/command.ts'
import { celeryBin } from '../../../conformance/support/celery.ts'
import { celeryEngine, celeryEnvironment } from '../celeryengine.ts'
import type { Job, Producer, Subject } from '../subject.ts'

const QUEUE = 'history'

/** Celery's own producer, in a process of its own. */
function producer(bin: string, brokerPort: number, ledger: string): Producer {
  const [program, ...args] = tied(join(bin, 'python'), [join(import.meta.dirname, '../history_app.py')])
  const env = celeryEnvironment({ brokerPort, ledger, env: {} })
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'ignore'] })
  const waiting = new Map<string, { resolve: () => void; reject: (error: Error) => void }>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, error } = JSON.parse(line) as { id: string; error: string | null }
    const one = waiting.get(id)
    waiting.delete(id)
    if (error === null) one?.resolve()
    else one?.reject(new Error(error))
  })
  return {
    send: (job: Job) =>
      new Promise((resolve, reject) => {
        waiting.set(job.id, { resolve, reject })
        child.stdin.write(`${JSON.stringify(job)}\n`)
      }),
    close: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.stdin.end()
      await ended
    },
  }
}

export async function subject(): Promise<Subject> {
  const bin = await celeryBin('5.7')
  return {
    name: 'celery',
    label: 'Celery',
    engines: [{ ...celeryEngine(bin, QUEUE), clockMayBeSet: true }],
    promises: {
      later: true,
      retries: true,
      // What failed for good leaves a result, which is not the message.
      deadLetters: false,
      chords: true,
      beat: false,
      leaseMs: 25_000,
      earlyMs: 2,
      attempts: true,
    },
    // One slot each: a process that is killed takes no children of its own along.
    busySlots: 2.5,
    mix: { later: 10, flaky: 4, doomed: 2, chord: 2 },
    producer: (port, ledger) => Promise.resolve(producer(bin, port, ledger)),
    left: async (redis) => (await redis.llen(QUEUE)) + (await redis.hlen('unacked')),
    end: () => Promise.resolve({ dead: [], schedules: [] }),
  }
}
