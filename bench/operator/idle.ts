// What the operator costs while nothing happens: writes by the audit log, time of a core by the kernel.
import { setTimeout as delay } from 'node:timers/promises'
import { isWrite, tally, type Request } from './audit.ts'
import { say } from './figures.ts'
import { OPERATOR, type Fleet } from './fleet.ts'
import type { Options } from './options.ts'

export async function idle({ plane, operator }: Fleet, { queues, idleSeconds }: Options): Promise<void> {
  const from = Date.now()
  const [spent, looked] = [operator.program.cpuSeconds(), performance.now()]
  await delay(idleSeconds * 1000)
  const share = (operator.program.cpuSeconds() - spent) / ((performance.now() - looked) / 1000)
  const asked = (await plane.audit.requests(from)).filter(({ user }) => user === OPERATOR)
  const { rss, anonymous, peak } = operator.program.memory()
  say(`idle: ${queues} TaskQueues on one broker, ${idleSeconds} s`)
  say(`  writes but for the leader lease: ${tally(writesOf(asked))} (wanted: none); asked in all: ${tally(asked)}`)
  say(`  ${(share * 100).toFixed(2)} % of a core (wanted < 2 %)`)
  say(`  RSS ${rss} MiB (anonymous ${anonymous}, peak ${peak})`)
}

/** The lease is renewed whether there are TaskQueues or not. */
export function writesOf(requests: readonly Request[]): Request[] {
  return requests.filter((request) => isWrite(request) && request.resource !== 'leases')
}
