// What `status` and `workers` show, from the objects that the API server has. Pure.

import type { Pod, TaskQueue } from './shapes.ts'
import { table, type Cell, type Colour } from './table.ts'

/** False is bad for all conditions but Suspended, which only says what was asked for. */
function colourOf(type: string, status: string): Colour {
  if (status === 'Unknown') return 'unsure'
  return status === 'True' || type === 'Suspended' ? 'good' : 'bad'
}

const number = (value: number | undefined): string => (value === undefined ? '?' : String(value))

export function statusText(queue: TaskQueue, colours: boolean): string {
  const { metadata, status = {} } = queue
  const { conditions = [], pools = [] } = status
  const stale = metadata.generation !== undefined && status.observedGeneration !== metadata.generation
  const poolRows = pools.map(({ name, queues = [], ready, wanted, backlog, busy }): Cell[] => [
    name,
    [`${ready}/${wanted}`, ready < wanted ? 'bad' : 'good'],
    number(backlog),
    number(busy),
    queues.join(','),
  ])
  const conditionRows = conditions.map(({ type, status: state, reason, message }): Cell[] => [
    type,
    [state, colourOf(type, state)],
    reason,
    message,
  ])
  return [
    table([], figures(queue), colours),
    ...(stale ? ['The operator has not seen the newest spec yet.'] : []),
    ...(poolRows.length > 0 ? [table(['POOL', 'READY', 'WAITING', 'BUSY', 'QUEUES'], poolRows, colours)] : []),
    ...(conditionRows.length > 0 ? [table(['CONDITION', 'STATUS', 'REASON', 'MESSAGE'], conditionRows, colours)] : []),
  ].join('\n\n')
}

function figures({ metadata, spec, status = {} }: TaskQueue): Cell[][] {
  const { workers = '?', backlog, inFlight, parked, beat, clock, deadLetters } = status
  const next = beat?.nextRunTime === undefined ? '' : `, next run ${beat.nextRunTime}`
  return [
    ['TaskQueue', `${metadata.namespace}/${metadata.name} (${spec.engine})`],
    ['Workers', workers],
    ['Waiting', number(backlog)],
    ['In flight', number(inFlight)],
    ['Parked', number(parked)],
    ['Dead letters', number(deadLetters?.count)],
    ['Beat', `${beat?.state ?? 'None'}${next}`],
    ['Skew', clock?.skew ?? 'Unknown'],
  ]
}

export function workersText(pods: readonly Pod[], colours: boolean): string {
  if (pods.length === 0) return 'no worker pods'
  const rows = pods.map(({ metadata, spec, status }): Cell[] => {
    const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True'
    const restarts = (status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0)
    const phase = metadata.deletionTimestamp === undefined ? (status?.phase ?? '?') : 'Terminating'
    return [
      metadata.name,
      metadata.labels?.['taskqueue.dev/pool'] ?? '',
      [ready ? 'yes' : 'no', ready ? 'good' : 'bad'],
      phase,
      String(restarts),
      spec.nodeName ?? '',
    ]
  })
  return table(['POD', 'POOL', 'READY', 'PHASE', 'RESTARTS', 'NODE'], rows, colours)
}
