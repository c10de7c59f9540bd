// The companion's settings, from variables that the operator sets. A wrong one is reported and replaced by its default: the
// companion is on the pod's critical path, so it must not end for it.

import { hostname } from 'node:os'
import { choice, number, text, whole, type ChoiceVariable, type NumberVariable } from '@taskqueue/runtime/variable'
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

/** Below the startup probe's 300 s. */
const START_SECONDS = 240

/** What is read, by the setting that each becomes. */
export const COMPANION_VARIABLES = {
  brokerUrl: text('TASKQUEUE_BROKER_URL', 'a URL', 'The broker of the TaskQueue.'),
  namespace: text('TASKQUEUE_NAMESPACE', 'text', "The TaskQueue's namespace.", ''),
  name: text('TASKQUEUE_NAME', 'text', "The TaskQueue's name.", ''),
  podUid: text('TASKQUEUE_POD_UID', 'text', "The pod's UID; the host name when unset."),
  component: choice('TASKQUEUE_COMPANION_COMPONENT', 'worker', ['worker', 'beat'], 'What it stands beside.'),
  clock: choice(
    'TASKQUEUE_COMPANION_CLOCK',
    'Monitor',
    ['Monitor', 'Discipline', 'Off'],
    '`Off` measures nothing; `Discipline` also reads what chronyd says: `clockSync.mode`.',
  ),
  servers: text(
    'TASKQUEUE_COMPANION_SERVERS',
    'NTP servers, separated by commas',
    'What clocks are measured against beside the broker: `clockSync.servers`.',
    '',
  ),
  node: text(
    'TASKQUEUE_COMPANION_NODE_IP',
    'an address',
    "Where the node's chronyd takes questions; none is asked when unset.",
  ),
  ping: choice(
    'TASKQUEUE_COMPANION_PING',
    'Off',
    ['Celery', 'Off'],
    'Whether it answers the probes of a Celery worker.',
  ),
  nodeName: text(
    'TASKQUEUE_COMPANION_NODE',
    'text',
    "The worker's name on the wire, as `celery inspect ping -d` takes it; `celery@` and the host name when unset.",
  ),
  maxTaskSeconds: number(
    'TASKQUEUE_COMPANION_MAX_TASK_SECONDS',
    0,
    0,
    604_800,
    "The longest that a task of the Celery worker may take: the pool's `maxTaskSeconds`; 0 is no limit.",
  ),
  stalledSeconds: number(
    'TASKQUEUE_COMPANION_STALLED_SECONDS',
    0,
    0,
    604_800,
    'How long tasks may wait beside free slots: `patrol.stalledSeconds`; 0 is no limit.',
  ),
  startSeconds: number(
    'TASKQUEUE_COMPANION_START_SECONDS',
    START_SECONDS,
    0,
    604_800,
    "How long a worker may be without a pidbox before that is taken for its way; below the startup probe's 300.",
  ),
  // Liveness and readiness ask in turns.
  reuseSeconds: number(
    'TASKQUEUE_COMPANION_REUSE_SECONDS',
    2,
    0,
    604_800,
    'How long an answer serves other probes too.',
  ),
  port: whole(
    'TASKQUEUE_COMPANION_PORT',
    9809,
    0,
    65_535,
    '`/ping`, `/metrics` and the rest of its answers; 0 takes a free one.',
  ),
} as const

const DECLARED = COMPANION_VARIABLES

/** The settings, and a sentence for each variable that could not be read. */
export function readSettings(env: NodeJS.ProcessEnv): { settings: Settings; problems: string[] } {
  const problems: string[] = []
  const oneOf = <T extends string>({ variable, values, fallback }: ChoiceVariable<T>): T => {
    const given = env[variable]
    if (given === undefined || given === '') return fallback
    const known = values.find((value) => value === given)
    if (known === undefined)
      problems.push(`${variable} is "${given}", which is none of ${values.join(', ')}: ${fallback} is used.`)
    return known ?? fallback
  }
  const brokerUrl = env[DECLARED.brokerUrl.variable] ?? ''
  if (brokerUrl === '')
    problems.push('TASKQUEUE_BROKER_URL is not set: the broker can not be asked. Set it to redis://host:port/db.')
  const { servers } = DECLARED
  return {
    problems,
    settings: {
      brokerUrl,
      namespace: env[DECLARED.namespace.variable] ?? '',
      name: env[DECLARED.name.variable] ?? '',
      podUid: env[DECLARED.podUid.variable] ?? hostname(),
      component: oneOf(DECLARED.component),
      clock: oneOf(DECLARED.clock),
      servers: readServers(servers.variable, env[servers.variable], NTP_PORT, problems),
      node: nodeAddress(env[DECLARED.node.variable], problems),
      ping: oneOf(DECLARED.ping),
      nodeName: env[DECLARED.nodeName.variable] ?? `celery@${hostname()}`,
      maxTaskSeconds: seconds(env, DECLARED.maxTaskSeconds, problems),
      stalledSeconds: seconds(env, DECLARED.stalledSeconds, problems),
      startSeconds: seconds(env, DECLARED.startSeconds, problems),
      reuseSeconds: seconds(env, DECLARED.reuseSeconds, problems),
      port: port(env, DECLARED.port, problems),
    },
  }
}

function seconds(
  env: NodeJS.ProcessEnv,
  { variable, fallback, least, most }: NumberVariable,
  problems: string[],
): number {
  const given = env[variable]
  if (given === undefined || given === '') return fallback
  const value = Number(given)
  if (value >= least && value <= most) return value
  problems.push(`${variable} is "${given}": give seconds from ${least} to ${most}. ${fallback} is used.`)
  return fallback
}

function nodeAddress(given: string | undefined, problems: string[]): ServerAddress | undefined {
  if (given === undefined || given === '') return undefined
  const node = readServer(given, CHRONY_PORT)
  if (!node)
    problems.push(`${DECLARED.node.variable} is "${given}": give the node's address. Its chronyd is not asked.`)
  return node
}

function port(env: NodeJS.ProcessEnv, { variable, fallback, least, most }: NumberVariable, problems: string[]): number {
  const given = env[variable]
  if (given === undefined || given === '') return fallback
  const value = Number(given)
  if (Number.isInteger(value) && value >= least && value <= most) return value
  problems.push(`${variable} is "${given}": give a number from ${least} to ${most}. ${fallback} is used.`)
  return fallback
}
