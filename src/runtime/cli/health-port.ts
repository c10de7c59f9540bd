// The health port of a command. A port that was asked for is taken or refused; the default one, which a second process on one machine finds
// taken, gives way to a free one. In a pod the port is always asked for (by the operator): there probes have to find it.
import { UsageError } from '../errors.ts'
import type { HealthServer } from '../health/server.ts'
import type { Logger } from '../log.ts'
import { VARIABLES } from '../variables.ts'

/**
 * Opens the port and tells which it is.
 * @param wanted 0 takes a free one
 * @param flags of the command line
 * @throws UsageError `HealthPortTaken`, `HealthPortRefused`
 */
export async function openHealthPort(
  wanted: number,
  flags: Readonly<Record<string, unknown>>,
  log: Logger,
  open: (port: number) => Promise<HealthServer>,
): Promise<HealthServer> {
  const { variable, fallback } = VARIABLES.healthPort
  const asked = flags['healthPort'] !== undefined || Boolean(process.env[variable]) || wanted !== fallback
  const health = await open(wanted).catch((error: unknown) => {
    if (asked || !(error instanceof UsageError) || error.code !== 'HealthPortTaken') throw error
    log.warn({ event: 'health-port-taken' }, `${error.message}. Nobody asked for ${wanted}, so a free one is taken`)
    return open(0)
  })
  log.info({ event: 'health-port', port: health.port }, `health port ${health.port}`)
  return health
}
