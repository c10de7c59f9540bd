// Commands that change the TaskQueue: suspend, resume, drain.

import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { PluginError } from './errors.ts'
import type { Session } from './session.ts'

/** Longer than a worker's usual grace period. */
const DRAIN_SECONDS = 900

export function addSteering(program: Command, session: Session): void {
  for (const [usage, suspend, description] of [
    ['suspend <name>', true, 'let workers finish what they run, and stop them and beat'],
    ['resume <name>', false, 'let it go on where it was'],
  ] as const)
    program
      .command(usage)
      .description(description)
      .action(async (name: string) => {
        await setSuspend(session, name, suspend)
        session.print({ suspend }, `TaskQueue ${name} is to ${suspend ? 'be suspended' : 'go on'}`)
      })
  program
    .command('drain <name>')
    .description('suspend it, and wait until nothing runs any more')
    .option('--timeout <seconds>', 'how long to wait', String(DRAIN_SECONDS))
    .action(async (name: string, { timeout }: { timeout: string }) => {
      const seconds = Number(timeout)
      if (!(seconds > 0)) throw new PluginError('WrongUse', `--timeout is a number of seconds; got ${timeout}`)
      await setSuspend(session, name, true)
      await drained(session, name, seconds)
      session.print({ drained: true }, `TaskQueue ${name} is drained`)
    })
}

async function setSuspend(session: Session, name: string, suspend: boolean): Promise<void> {
  const patch = JSON.stringify({ spec: { suspend } })
  await session.kubectl.read('patch', 'taskqueue', name, '--type=merge', `--patch=${patch}`)
}

/** @throws PluginError `TimedOut` with what still runs */
async function drained(session: Session, name: string, seconds: number): Promise<void> {
  const deadline = performance.now() + seconds * 1000
  for (let told = ''; ;) {
    const { status, metadata } = await session.read(name)
    const condition = status?.conditions?.find(({ type }) => type === 'Suspended')
    if (condition?.status === 'True' && status?.observedGeneration === metadata.generation) return
    const message = condition?.message ?? 'the operator has not said anything yet'
    if (performance.now() > deadline)
      throw new PluginError('TimedOut', `TaskQueue ${name} is not drained after ${seconds} s: ${message}`)
    if (message !== told && process.stderr.isTTY) process.stderr.write(`${message}\n`)
    told = message
    await delay(1000)
  }
}
