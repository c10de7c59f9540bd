// The program of a contestant on Node: `node process.ts NAME LOAD ROLE`, the latter two as JSON. It prints one line of JSON when it is done;
// a worker prints `ready` first and is done at SIGTERM.

import { setTimeout as delay } from 'node:timers/promises'
import type { Contestant, Sender } from './contestant.ts'
import { Job, nowMicros } from './job.ts'
import { MANY, type JobArgs, type Load, type Role } from './load.ts'

const [name = '', loadText = '', roleText = ''] = process.argv.slice(2)
const load = JSON.parse(loadText) as Load
const asked = JSON.parse(roleText) as Role
const { contestant } = (await import(`./${name}.ts`)) as { contestant: Contestant }
const filling = 'x'.repeat(load.bytes)

function jobs(count: number, sentMicros = 0): JobArgs[] {
  return Array.from({ length: count }, (_, i) => [i, sentMicros, filling])
}

async function sending(work: (sender: Sender) => Promise<void>): Promise<void> {
  const sender = await contestant.sender(load)
  // The first is not counted: it opens the connection.
  await sender.one([0, 0, filling])
  const began = performance.now()
  await work(sender)
  print({ seconds: (performance.now() - began) / 1000 })
  await sender.close()
}

async function inMany(count: number, send: (list: readonly JobArgs[]) => Promise<void>): Promise<void> {
  for (let left = count; left > 0; left -= MANY) await send(jobs(Math.min(MANY, left)))
}

/** Each at its own time, whether those before it have been taken by the broker or not. */
async function paced(sender: Sender, perSecond: number, count: number): Promise<void> {
  const began = nowMicros()
  const under: Promise<void>[] = []
  for (let i = 0; i < count; i++) {
    const due = began + (i * 1_000_000) / perSecond
    const wait = (due - nowMicros()) / 1000
    if (wait > 0) await delay(wait)
    under.push(sender.one([i, nowMicros(), filling]))
  }
  await Promise.all(under)
}

async function working(concurrency: number): Promise<void> {
  const job = new Job(load)
  const stopped = new Promise((resolve) => process.once('SIGTERM', resolve))
  const worker = await contestant.work(load, job, concurrency)
  process.stdout.write('ready\n')
  await stopped
  print({ late: job.late })
  await worker.close()
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

switch (asked.role) {
  case 'send': {
    const { send, count } = asked
    await sending(async (sender) => {
      if (send === 'many') return inMany(count, (list) => sender.many(list))
      for (const args of jobs(count)) await sender.one(args)
    })
    break
  }
  case 'pace':
    await sending((sender) => paced(sender, asked.perSecond, asked.count))
    break
  case 'later':
    await sending((sender) => inMany(asked.count, (list) => sender.later(list, asked.startAt)))
    break
  case 'work':
    await working(asked.concurrency)
}
process.exit(0)
