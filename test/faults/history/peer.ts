// What is common to the campaigns of the peers that run on Node: their processes, and the promises that they make.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { tied } from '../../../deploy/local/command.ts'
import type { Promises } from './history.ts'
import type { Job, Producer, Subject } from './subject.ts'

export interface PeerLibrary {
  producer(port: number): Promise<Producer>
  /** Runs jobs until it is closed; the handler is told the attempt, from 1. */
  work(port: number, run: (job: Job, attempt: number) => Promise<void>): Promise<() => Promise<unknown>>
}

export interface Peer {
  readonly name: string
  readonly label: string
  /** Lists and sorted sets that a job is in until it is done. */
  readonly lists: readonly string[]
  readonly sortedSets: readonly string[]
  /** Ids of jobs that failed for good. */
  readonly dead: (redis: Redis) => Promise<readonly string[]>
}

/** Both take jobs for later and try again, keep what failed for good, and find the jobs of lost workers within seconds. */
const PROMISES: Promises = {
  later: true,
  retries: true,
  deadLetters: true,
  chords: false,
  beat: false,
  leaseMs: 16_000,
  earlyMs: 2,
  attempts: true,
}

const WORKER = join(import.meta.dirname, 'peerworker.ts')

export function peerSubject({ name, label, lists, sortedSets, dead }: Peer, library: PeerLibrary): Subject {
  return {
    name,
    label,
    promises: PROMISES,
    mix: { later: 10, flaky: 4, doomed: 2 },
    busySlots: 12,
    engines: [
      {
        name,
        clockMayBeSet: true,
        start: ({ brokerPort, ledger, env }) => {
          const [program, ...args] = tied(process.execPath, [WORKER, name, String(brokerPort)])
          const whole = { ...process.env, HISTORY_LEDGER: ledger, ...env }
          return spawn(program, args, { env: whole, stdio: ['ignore', 'pipe', 'pipe'] })
        },
      },
    ],
    producer: (port) => library.producer(port),
    left: async (redis) => {
      const counts = await Promise.all([
        ...lists.map((key) => redis.llen(key)),
        ...sortedSets.map((key) => redis.zcard(key)),
      ])
      return counts.reduce((sum, n) => sum + n, 0)
    },
    end: async (redis) => ({ dead: await dead(redis), schedules: [] }),
  }
}
