// The operator's settings, from TASKQUEUE_OPERATOR_* variables that the chart sets. Read once, checked, then passed on.

import { hostname } from 'node:os'
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

/** Throws OperatorError `SettingInvalid`, naming the variable and what it should be. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const image = env.TASKQUEUE_OPERATOR_IMAGE ?? ''
  if (image === '') {
    throw new OperatorError(
      'SettingInvalid',
      'TASKQUEUE_OPERATOR_IMAGE is not set: give the name of the operator image, from which companions and declared beats run.',
    )
  }
  const leaseNamespace = env.TASKQUEUE_OPERATOR_NAMESPACE ?? 'default'
  return {
    image,
    imagePullPolicy:
      env.TASKQUEUE_OPERATOR_IMAGE_PULL_POLICY === '' ? undefined : env.TASKQUEUE_OPERATOR_IMAGE_PULL_POLICY,
    namespaces: (env.TASKQUEUE_OPERATOR_WATCH_NAMESPACES ?? '').split(',').filter((name) => name !== ''),
    leaseNamespace,
    identity: env.TASKQUEUE_OPERATOR_IDENTITY ?? `${hostname()}_${process.pid}`,
    port: integer(env, 'TASKQUEUE_OPERATOR_PORT', 8080, 0, 65_535),
    concurrency: integer(env, 'TASKQUEUE_OPERATOR_CONCURRENCY', 8, 1, 256),
    allowPrivilegedPods: boolean(env, 'TASKQUEUE_OPERATOR_ALLOW_PRIVILEGED_PODS', false),
    allowDiscipline: boolean(env, 'TASKQUEUE_OPERATOR_ALLOW_DISCIPLINE', false),
  }
}

function integer(env: NodeJS.ProcessEnv, name: string, otherwise: number, min: number, max: number): number {
  const text = env[name] ?? ''
  if (text === '') return otherwise
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new OperatorError('SettingInvalid', `${name} is "${text}": give a whole number from ${min} to ${max}.`)
  }
  return value
}

function boolean(env: NodeJS.ProcessEnv, name: string, otherwise: boolean): boolean {
  const text = env[name] ?? ''
  if (text === '') return otherwise
  if (text !== 'true' && text !== 'false')
    throw new OperatorError('SettingInvalid', `${name} is "${text}": give true or false.`)
  return text === 'true'
}
