// What the bench is asked to do, from its command line. Not settings of the operator: those are the chart's.
import { parseArgs } from 'node:util'

export interface Options {
  readonly measurement: string
  /** How many TaskQueues. */
  readonly queues: number
  readonly idleSeconds: number
  /** Pods of each pool. A Deployment of 1 is made by fewer requests than others. */
  readonly replicas: number
  /** Spec changes that are timed. */
  readonly samples: number
  /** TaskQueues that change beside each of them. */
  readonly others: number
  /** Over so many seconds the changes of one sample begin, evenly; 0 for all at the same moment. Each is measured. */
  readonly overSeconds: readonly number[]
  readonly pods: number
  /** TaskQueues that the operators reconcile at once. */
  readonly concurrency: number
  /** TaskQueues for kopf; a tenth when it is 0. */
  readonly kopfQueues: number
  /** Of `create`: which of the four to run. */
  readonly contestants: readonly string[]
  /** Flags of the operator's Node; the chart's when none are given. */
  readonly nodeFlags: readonly string[]
  /** Folder for CPU profiles of the operator; empty for none. */
  readonly profile: string
}

export const contestants = ['operator', 'loader', 'controller-runtime', 'kopf'] as const

/** @throws TypeError for a flag that there is none of */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      queues: { type: 'string', default: '1000' },
      'idle-seconds': { type: 'string', default: '300' },
      replicas: { type: 'string', default: '1' },
      samples: { type: 'string', default: '200' },
      others: { type: 'string', default: '100' },
      'over-seconds': { type: 'string', default: '0,5' },
      pods: { type: 'string', default: '5000' },
      concurrency: { type: 'string', default: '8' },
      'kopf-queues': { type: 'string', default: '0' },
      only: { type: 'string', default: contestants.join(',') },
      'node-flags': {
        type: 'string',
        default: '--max-old-space-size=256 --max-semi-space-size=16 --heap-growing-percent=40',
      },
      profile: { type: 'string', default: '' },
    },
  })
  return {
    measurement: positionals[0] ?? '',
    queues: Number(values.queues),
    idleSeconds: Number(values['idle-seconds']),
    replicas: Number(values.replicas),
    samples: Number(values.samples),
    others: Number(values.others),
    overSeconds: values['over-seconds'].split(',').map(Number),
    pods: Number(values.pods),
    concurrency: Number(values.concurrency),
    kopfQueues: Number(values['kopf-queues']),
    contestants: values.only.split(','),
    nodeFlags: values['node-flags'].split(' '),
    profile: values.profile,
  }
}
