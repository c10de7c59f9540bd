// The companion's process. It listens first, never ends for what it can report, and ends at once when told to.

import { placeFields, redactSecrets } from '@taskqueue/runtime/log-fields'
import { Clocks } from './clock/clocks.ts'
import { CeleryDrain } from './draining.ts'
import { Pidbox } from './pidbox.ts'
import { CeleryPing } from './ping.ts'
import { PoolWatch } from './poolwatch.ts'
import { RegisteredTasks } from './registered.ts'
import { serve } from './server.ts'
import { readSettings } from './settings.ts'

const { settings, problems } = readSettings(process.env)

const base = { service: 'companion', component: 'companion', ...placeFields(process.env) }

/** One JSON object a line, with the runtime's field names. A logger's library would cost a tenth of the memory that we may use. */
function report(level: 'info' | 'warn' | 'error', message: string): void {
  process.stdout.write(
    `${redactSecrets(JSON.stringify({ level, time: new Date().toISOString(), ...base, msg: message }))}\n`,
  )
}

const stop = new AbortController()
const hasBroker = settings.brokerUrl !== ''
const pidbox = hasBroker && settings.ping === 'Celery' ? new Pidbox(settings.brokerUrl, settings.nodeName) : undefined
const pool = pidbox && new PoolWatch(pidbox, settings)
const ping = pidbox && pool && new CeleryPing(pidbox, pool, settings)
const clocks =
  settings.clock === 'Off'
    ? undefined
    : new Clocks(
        settings,
        report,
        pidbox && {
          pool,
          registered: new RegisteredTasks(pidbox),
          drain: new CeleryDrain(pidbox, (message) => report('info', message)),
        },
      )

try {
  const { port } = await serve({ settings, clocks, ping, pool })
  report('info', `Companion of a ${settings.component} listens on port ${port}.`)
} catch (error) {
  // Clocks are still worth measuring without a port.
  report(
    'error',
    `Port ${settings.port} can not be listened on, so probes and /clock are not answered: ${String(error)}`,
  )
}
for (const problem of problems) report('warn', problem)

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
// Held open by the server or by this: a companion without a broker still has its /livez to answer.
const alive = setInterval(() => undefined, 60_000)
await (clocks?.run(stop.signal) ??
  new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve())))
clearInterval(alive)
pidbox?.close()
process.exit(0)
