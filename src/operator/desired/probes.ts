// The kubelet's probes of a worker: of Node's on its health port, of Celery's through the companion or by Celery's own command. What an
// answer means is decided where it is given. Pure.

import type { V1Container, V1Probe } from '@kubernetes/client-node'
import type { WorkerPool } from '../taskqueue.ts'
import { COMPANION_PORT } from './companion.ts'

export type Probes = Pick<V1Container, 'startupProbe' | 'readinessProbe' | 'livenessProbe'>

/** @param port the health port */
export function nodeProbes(port: number): Probes {
  return {
    startupProbe: { ...get('/livez', port), periodSeconds: 2, failureThreshold: 60 },
    readinessProbe: { ...get('/readyz', port), periodSeconds: 5, failureThreshold: 3 },
    livenessProbe: { ...get('/livez', port), periodSeconds: 10, failureThreshold: 6 },
  }
}

/** @param app what follows -A */
export function celeryProbes(by: WorkerPool['probe'], app: string): Probes {
  if (by === 'None') return {}
  return by === 'Exec' ? byCommand(app) : byCompanion()
}

function byCompanion(): Probes {
  return {
    startupProbe: { ...get('/ping?for=startup', COMPANION_PORT), periodSeconds: 5, failureThreshold: 60 },
    readinessProbe: { ...get('/ping?for=readiness', COMPANION_PORT), periodSeconds: 10, failureThreshold: 3 },
    // A companion that keeps crashing comes back after at most 300 s, and must not take a healthy worker with it: 37 x 10 s.
    livenessProbe: {
      ...get('/ping?for=liveness', COMPANION_PORT),
      periodSeconds: 10,
      failureThreshold: 37,
      terminationGracePeriodSeconds: 10,
    },
  }
}

/** A Python process each time, of about a second of CPU: seldom, and with time for a machine that is busy. */
function byCommand(app: string): Probes {
  // No shell reads the app's name: it is an argument. HOSTNAME is known inside of the container alone.
  const script = 'exec celery -A "$0" inspect ping --timeout 10 -d "celery@$HOSTNAME"'
  const base = { exec: { command: ['sh', '-c', script, app] }, timeoutSeconds: 30, successThreshold: 1 }
  return {
    startupProbe: { ...base, periodSeconds: 30, failureThreshold: 10 },
    readinessProbe: { ...base, periodSeconds: 60, failureThreshold: 3 },
    livenessProbe: { ...base, periodSeconds: 60, failureThreshold: 6, terminationGracePeriodSeconds: 10 },
  }
}

function get(path: string, port: number): V1Probe {
  return { httpGet: { path, port, scheme: 'HTTP' }, timeoutSeconds: 5, successThreshold: 1 }
}
