// A real Celery worker as an engine of a campaign: acknowledged late, its lost messages back after a short visibility timeout.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { tied } from '../../../deploy/local/command.ts'
import type { Engine, Surroundings } from './subject.ts'

export function celeryEnvironment({ brokerPort, ledger, env }: Surroundings): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PYTHONPATH: import.meta.dirname,
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONUNBUFFERED: '1',
    BROKER_URL: `redis://127.0.0.1:${brokerPort}/0`,
    HISTORY_LEDGER: ledger,
    ...env,
  }
}

let started = 0

/** @param bin folder of Celery's programs */
export function celeryEngine(bin: string, queue: string): Engine {
  return {
    name: 'celery',
    // It judges by its own clock when a message is due and when another worker's is lost.
    clockMayBeSet: false,
    start: (surroundings) => {
      const flags = ['--pool', 'solo', '-Q', queue, '-l', 'warning', '-n', `h${started++}@%h`]
      const args = ['-A', 'history_app', 'worker', ...flags, '--without-gossip', '--without-mingle']
      const [program, ...rest] = tied(join(bin, 'celery'), args)
      return spawn(program, rest, { env: celeryEnvironment(surroundings), stdio: ['ignore', 'pipe', 'pipe'] })
    },
  }
}
