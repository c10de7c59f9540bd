// The operator's process: settings, health, leadership, controller, signals. Reads its environment here and nowhere else.

import { createLog, logLevel } from '@taskqueue/runtime/log'
import { systemClock } from './clock.ts'
import { Controller } from './controller.ts'
import { OperatorError, messageOf } from './errors.ts'
import { KubeClient } from './kube/client.ts'
import { LeaderLease } from './kube/lease.ts'
import { OperatorMetrics } from './metrics.ts'
import { serve } from './server.ts'
import { readSettings } from './settings.ts'

const log = createLog({
  level: logLevel(process.env.TASKQUEUE_LOG_LEVEL),
  fields: { service: 'operator', component: 'operator' },
})

async function main(): Promise<number> {
  const settings = readSettings(process.env)
  const client = await KubeClient.fromEnvironment(process.env, systemClock)
  let controller: Controller | undefined
  const metrics = new OperatorMetrics(() => controller?.depth ?? 0)
  let leading = false
  const { server, port } = await serve(settings.port, metrics.registry, () => {
    if (!leading) return { ready: true, message: 'standing by for the leader lease' }
    return controller?.synced === true
      ? { ready: true, message: 'leading' }
      : { ready: false, message: 'leading, the caches are not in sync yet' }
  })
  log.info(
    { server: client.server, port, namespaces: settings.namespaces, identity: settings.identity },
    'Operator started',
  )

  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info({ signal }, 'Stopping')
      stop.abort()
    })
  }

  const lease = new LeaderLease(
    client,
    systemClock,
    { namespace: settings.leaseNamespace, name: 'taskqueue-operator', identity: settings.identity },
    (message) => log.warn(message),
  )
  try {
    await lease.acquire(stop.signal)
    leading = true
    metrics.leader.set(1)
    log.info('Leading')
    controller = await Controller.open({ client, settings, clock: systemClock, log, metrics })
    const drained = new AbortController()
    const running = controller.run(stop.signal).finally(() => drained.abort())
    // Held until the last reconcile has ended, so that no other begins while one is still under way.
    if ((await lease.hold(drained.signal)) === 'lost') {
      // Another may lead already: whatever is still under way must not finish.
      log.error('The leader lease is lost: ending at once, to be started anew.')
      return 1
    }
    await running
    await lease.release()
  } catch (error) {
    if (!stop.signal.aborted) throw error
  }
  server.close()
  client.close()
  return 0
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    log.fatal({ error }, `The operator can not go on: ${messageOf(error)}`)
    process.exit(error instanceof OperatorError && error.code === 'SettingInvalid' ? 2 : 1)
  },
)
