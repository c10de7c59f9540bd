// The companion's settings, from variables that the operator sets. A wrong one is reported and replaced by its default: the
// companion is on the pod's critical path, so it must not end for it.

import { hostname } from 'node:os'
import { CHRONY_PORT } from './clock/chronytracking.ts'
import { NTP_PORT } from './clock/ntppacket.ts'
import { readServer, readServers, type ServerAddress } from './clock/serverlist.ts'

export interface Settings {
  brokerUrl: string
  namespace: string
  name: string
  podUid: string
  component: 'worker' | 'beat'
  /** Off measures nothing. Discipline measures too: correcting the clock is the node's business. */
  clock: 'Monitor' | 'Discipline' | 'Off'
  /** NTP servers to measure against; none by default. */
  servers: readonly ServerAddress[]
  /** Where the node's chronyd takes questions. */
  node: ServerAddress | undefined
  ping: 'Celery' | 'Off'
  /** The worker's name on the wire, as `celery inspect ping -d` takes it. */
  nodeName: string
  /** The longest that a task of the worker may take; 0 is no limit. */
  maxTaskSeconds: number
  /** How long tasks may wait beside free slots of the worker; 0 is no limit. */
  stalledSeconds: number
  /** How long a worker may be without a pidbox before that is taken for its way. */
  startSeconds: number
  /** How long an answer to a ping serves other probes too. */
  reuseSeconds: number
  port: number
}

/** The settings, and a sentence for each variable that could not be read. */
export function readSettings(env: NodeJS.ProcessEnv): { settings: Settings; problems: string[] } {
  const problems: string[] = []
  const oneOf = <T extends string>(name: string, allowed: readonly T[], otherwise: T): T => {
    const text = env[name]
    if (text === undefined || text === '') return otherwise
    const known = allowed.find((value) => value === text)
    if (known === undefined)
      problems.push(`${name} is "${text}", which is none of ${allowed.join(', ')}: ${otherwise} is used.`)
    return known ?? otherwise
  }
  const brokerUrl = env.TASKQUEUE_BROKER_URL ?? ''
  if (brokerUrl === '')
    problems.push('TASKQUEUE_BROKER_URL is not set: the broker can not be asked. Set it to redis://host:port/db.')
  return {
    problems,
    settings: {
      brokerUrl,
      namespace: env.TASKQUEUE_NAMESPACE ?? '',
      name: env.TASKQUEUE_NAME ?? '',
      podUid: env.TASKQUEUE_POD_UID ?? hostname(),
      component: oneOf('TASKQUEUE_COMPANION_COMPONENT', ['worker', 'beat'], 'worker'),
      clock: oneOf('TASKQUEUE_COMPANION_CLOCK', ['Monitor', 'Discipline', 'Off'], 'Monitor'),
      servers: readServers('TASKQUEUE_COMPANION_SERVERS', env.TASKQUEUE_COMPANION_SERVERS, NTP_PORT, problems),
      node: nodeAddress(env.TASKQUEUE_COMPANION_NODE_IP, problems),
      ping: oneOf('TASKQUEUE_COMPANION_PING', ['Celery', 'Off'], 'Off'),
      nodeName: env.TASKQUEUE_COMPANION_NODE ?? `celery@${hostname()}`,
      maxTaskSeconds: seconds(env, 'TASKQUEUE_COMPANION_MAX_TASK_SECONDS', problems, 0),
      stalledSeconds: seconds(env, 'TASKQUEUE_COMPANION_STALLED_SECONDS', problems, 0),
      startSeconds: seconds(env, 'TASKQUEUE_COMPANION_START_SECONDS', problems, START_SECONDS),
      // Liveness and readiness ask in turns.
      reuseSeconds: seconds(env, 'TASKQUEUE_COMPANION_REUSE_SECONDS', problems, 2),
      port: port(env.TASKQUEUE_COMPANION_PORT, problems),
    },
  }
}

/** Below the startup probe's 300 s. */
const START_SECONDS = 240

function seconds(env: NodeJS.ProcessEnv, name: string, problems: string[], otherwise: number): number {
  const text = env[name]
  if (text === undefined || text === '') return otherwise
  const value = Number(text)
  if (value >= 0 && value <= 604_800) return value
  problems.push(`${name} is "${text}": give seconds from 0 to 604800. ${otherwise} is used.`)
  return otherwise
}

const DEFAULT_PORT = 9809

function nodeAddress(text: string | undefined, problems: string[]): ServerAddress | undefined {
  if (text === undefined || text === '') return undefined
  const node = readServer(text, CHRONY_PORT)
  if (!node)
    problems.push(`TASKQUEUE_COMPANION_NODE_IP is "${text}": give the node's address. Its chronyd is not asked.`)
  return node
}

function port(text: string | undefined, problems: string[]): number {
  if (text === undefined || text === '') return DEFAULT_PORT
  const value = Number(text)
  if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value
  problems.push(`TASKQUEUE_COMPANION_PORT is "${text}": give a number from 0 to 65535. ${DEFAULT_PORT} is used.`)
  return DEFAULT_PORT
}
