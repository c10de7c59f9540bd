// The operator is killed and started again over TaskQueues that are as they should be: how long until it is quiet, and what it writes.
import { isWrite, tally } from './audit.ts'
import { say, seconds } from './figures.ts'
import { OPERATOR, settled, startOperator, type Fleet } from './fleet.ts'
import { writesOf } from './idle.ts'
import type { Options } from './options.ts'

export async function restart(fleet: Fleet, options: Options): Promise<void> {
  const { plane, operator } = fleet
  // In good order, or its successor would wait for the lease to run out: that is measured by the tests.
  await operator.program.end('SIGTERM')
  const from = Date.now()
  fleet.operator = await startOperator(plane, options)
  const synced = Date.now()
  const at = await settled(fleet.operator)
  const asked = (await plane.audit.requests(from)).filter(({ user }) => user === OPERATOR)
  const reconciles = await fleet.operator.metric('taskqueue_operator_reconciles_total')
  say(`restart: ${options.queues} TaskQueues`)
  say(`  caches in sync after ${seconds(synced - from)}, settled after ${seconds(at - from)} (wanted <= 20 s)`)
  say(`  ${reconciles} reconciles, ${fleet.operator.program.cpuSeconds().toFixed(1)} s of CPU until 5 s later`)
  say(`  writes but for the leader lease: ${tally(writesOf(asked))} (wanted: none)`)
  say(`  asked in all: ${tally(asked)}; of these writes to leases: ${asked.filter((each) => isWrite(each)).length}`)
}
