// The operator's settings, from TASKQUEUE_OPERATOR_* variables that the chart sets. Read once, checked, then passed on.

import { hostname } from 'node:os'
import { flag, text, whole, type FlagVariable, type NumberVariable } from '@taskqueue/runtime/variable'
import { OperatorError } from './errors.ts'

export interface Settings {
  /** The image of the companion and of a Declared beat: the operator's own. */
  image: string
  imagePullPolicy: string | undefined
  /** Namespaces to watch; empty for all. */
  namespaces: string[]
  /** Where the leader lease lives. */
  leaseNamespace: string
  identity: string
  /** Port of /metrics, /livez and /readyz; 0 takes a free one. */
  port: number
  concurrency: number
  allowPrivilegedPods: boolean
  /** Whether the chart runs a chronyd on each node. */
  allowDiscipline: boolean
}

/** What is read, by the setting that each becomes. */
export const OPERATOR_VARIABLES = {
  image: text(
    'TASKQUEUE_OPERATOR_IMAGE',
    'an image',
    "The operator's own: companions and Declared beats run from it. Needed.",
  ),
  imagePullPolicy: text(
    'TASKQUEUE_OPERATOR_IMAGE_PULL_POLICY',
    'a pull policy',
    "For containers of that image; Kubernetes' own default when unset.",
  ),
  namespaces: text(
    'TASKQUEUE_OPERATOR_WATCH_NAMESPACES',
    'namespaces, separated by commas',
    'Where TaskQueues are looked at; all when empty.',
    '',
  ),
  leaseNamespace: text(
    'TASKQUEUE_OPERATOR_NAMESPACE',
    'a namespace',
    'Where the leader Lease and the HMAC key live.',
    'default',
  ),
  identity: text('TASKQUEUE_OPERATOR_IDENTITY', 'text', 'Its name in the Lease; host name and process id when unset.'),
  port: whole('TASKQUEUE_OPERATOR_PORT', 8080, 0, 65_535, '`/metrics`, `/livez` and `/readyz`; 0 takes a free one.'),
  concurrency: whole('TASKQUEUE_OPERATOR_CONCURRENCY', 8, 1, 256, 'TaskQueues that are reconciled at once.'),
  allowPrivilegedPods: flag(
    'TASKQUEUE_OPERATOR_ALLOW_PRIVILEGED_PODS',
    false,
    'Lets podTemplates ask for more than the restricted Pod Security Standard allows.',
  ),
  allowDiscipline: flag(
    'TASKQUEUE_OPERATOR_ALLOW_DISCIPLINE',
    false,
    'Says that the chart runs a chronyd on each node, so that `clockSync.mode: Discipline` has one to ask.',
  ),
} as const

const DECLARED = OPERATOR_VARIABLES

/** Throws OperatorError `SettingInvalid`, naming the variable and what it should be. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const image = env[DECLARED.image.variable] ?? ''
  if (image === '') {
    throw new OperatorError(
      'SettingInvalid',
      `${DECLARED.image.variable} is not set: give the name of the operator image, from which companions and declared beats run.`,
    )
  }
  const policy = env[DECLARED.imagePullPolicy.variable]
  return {
    image,
    imagePullPolicy: policy === '' ? undefined : policy,
    namespaces: (env[DECLARED.namespaces.variable] ?? '').split(',').filter((name) => name !== ''),
    leaseNamespace: env[DECLARED.leaseNamespace.variable] ?? 'default',
    identity: env[DECLARED.identity.variable] ?? `${hostname()}_${process.pid}`,
    port: integer(env, DECLARED.port),
    concurrency: integer(env, DECLARED.concurrency),
    allowPrivilegedPods: boolean(env, DECLARED.allowPrivilegedPods),
    allowDiscipline: boolean(env, DECLARED.allowDiscipline),
  }
}

function integer(env: NodeJS.ProcessEnv, { variable, fallback, least, most }: NumberVariable): number {
  const given = env[variable] ?? ''
  if (given === '') return fallback
  const value = Number(given)
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new OperatorError(
      'SettingInvalid',
      `${variable} is "${given}": give a whole number from ${least} to ${most}.`,
    )
  }
  return value
}

function boolean(env: NodeJS.ProcessEnv, { variable, fallback }: FlagVariable): boolean {
  const given = env[variable] ?? ''
  if (given === '') return fallback
  if (given !== 'true' && given !== 'false')
    throw new OperatorError('SettingInvalid', `${variable} is "${given}": give true or false.`)
  return given === 'true'
}
