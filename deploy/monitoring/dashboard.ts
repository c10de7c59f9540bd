// Writes the Grafana dashboard, deploy/monitoring/dashboard.json, from the list of its panels; `--check` only says whether it is fresh. The
// JSON is what is used; this is what is edited. What the metrics mean is in docs/monitoring.md.

import { join } from 'node:path'
import { format } from 'prettier'
import { writeOrCheck } from '../generated.ts'

type Unit = 'short' | 's' | 'percentunit' | 'ops' | 'bytes'

interface Query {
  readonly expr: string
  readonly legend: string
}

interface Panel {
  readonly title: string
  readonly about: string
  readonly kind: 'stat' | 'timeseries' | 'table'
  readonly unit: Unit
  /** Of 24 columns. */
  readonly width: number
  readonly queries: readonly Query[]
}

interface Row {
  readonly title: string
  readonly panels: readonly Panel[]
}

/** What every query of a TaskQueue's own metrics is held to. */
const OF = 'namespace=~"$namespace",taskqueue=~"$taskqueue"'

const stat = (title: string, about: string, expr: string, unit: Unit = 'short'): Panel => ({
  title,
  about,
  kind: 'stat',
  unit,
  width: 4,
  queries: [{ expr, legend: '' }],
})
const chart = (
  title: string,
  about: string,
  unit: Unit,
  ...queries: readonly (readonly [string, string])[]
): Panel => ({
  title,
  about,
  kind: 'timeseries',
  unit,
  width: 8,
  queries: queries.map(([expr, legend]) => ({ expr, legend })),
})
const messages = (state: string): string => `sum(taskqueue_queue_messages{${OF},state="${state}"})`
const quantile = (q: number, metric: string, by: string): string =>
  `histogram_quantile(${q}, sum by (${by}le) (rate(${metric}_bucket{${OF}}[$__rate_interval])))`

const rows: readonly Row[] = [
  {
    title: 'At a glance',
    panels: [
      stat(
        'Not ready',
        'TaskQueues whose condition Ready is not True.',
        `count(taskqueue_status_condition{${OF},condition="Ready",status!="True"}) or vector(0)`,
      ),
      stat('Backlog', 'Messages that wait to be taken.', messages('waiting')),
      stat('In flight', 'Messages taken and not settled.', messages('in_flight')),
      stat('Parked', 'Messages that wait for their time: eta, countdown or retry.', messages('parked')),
      stat(
        'Dead letters',
        'Those that each broker holds; of a broker that several TaskQueues share, once for each of them.',
        `sum(taskqueue_broker_dead_letters{${OF}}) or vector(0)`,
      ),
      stat(
        'Pods ready of wanted',
        'Worker pods that are ready, of those that there should be.',
        `sum(taskqueue_pool_pods_ready{${OF}}) / (sum(taskqueue_pool_pods_wanted{${OF}}) > 0)`,
        'percentunit',
      ),
    ],
  },
  {
    title: 'Work',
    panels: [
      chart('Backlog', 'Messages that wait, by queue.', 'short', [
        `sum by (taskqueue, queue) (taskqueue_queue_messages{${OF},state="waiting"})`,
        '{{taskqueue}} {{queue}}',
      ]),
      chart('Throughput', 'Deliveries a second by what became of them.', 'ops', [
        `sum by (outcome) (rate(taskqueue_tasks_total{${OF}}[$__rate_interval]))`,
        '{{outcome}}',
      ]),
      chart(
        'Run time',
        'How long handlers take, whatever their end.',
        's',
        [quantile(0.5, 'taskqueue_task_duration_seconds', ''), 'p50'],
        [quantile(0.95, 'taskqueue_task_duration_seconds', ''), 'p95'],
        [quantile(0.99, 'taskqueue_task_duration_seconds', ''), 'p99'],
      ),
      chart('Failures', 'Tasks that failed for good, by task.', 'ops', [
        `sum by (task) (rate(taskqueue_tasks_total{${OF},outcome="failed"}[$__rate_interval]))`,
        '{{task}}',
      ]),
      chart('Retries', 'Attempts that failed and are tried again, by task.', 'ops', [
        `sum by (task) (rate(taskqueue_tasks_total{${OF},outcome="retried"}[$__rate_interval]))`,
        '{{task}}',
      ]),
      chart('Dead letters', 'Messages that became dead letters, by reason.', 'ops', [
        `sum by (queue, reason) (rate(taskqueue_dead_letters_total{${OF}}[$__rate_interval]))`,
        '{{queue}} {{reason}}',
      ]),
    ],
  },
  {
    title: 'Workers',
    panels: [
      chart(
        'Busy slots',
        'Tasks that run, beside those that may run at once.',
        'short',
        [`sum by (taskqueue, pool) (taskqueue_worker_running{${OF}})`, '{{taskqueue}} {{pool}} busy'],
        [`sum by (taskqueue, pool) (taskqueue_worker_slots{${OF}})`, '{{taskqueue}} {{pool}} slots'],
      ),
      chart(
        'Pods',
        'Worker pods that are ready, beside those that there should be.',
        'short',
        [`sum by (taskqueue, pool) (taskqueue_pool_pods_ready{${OF}})`, '{{taskqueue}} {{pool}} ready'],
        [`sum by (taskqueue, pool) (taskqueue_pool_pods_wanted{${OF}})`, '{{taskqueue}} {{pool}} wanted'],
      ),
      chart(
        'Leases lost, brokers lost',
        'Deliveries whose lease was lost while they ran: they run twice. Workers without a connection to their broker.',
        'short',
        [
          `sum by (taskqueue, pool) (increase(taskqueue_leases_lost_total{${OF}}[$__rate_interval]))`,
          '{{taskqueue}} {{pool}} leases',
        ],
        [`sum by (taskqueue) (1 - taskqueue_broker_connected{${OF}})`, '{{taskqueue}} unconnected'],
      ),
    ],
  },
  {
    title: 'Beat',
    panels: [
      chart(
        'Lateness of beat',
        'From when a slot was due to its publication.',
        's',
        [quantile(0.5, 'taskqueue_schedule_lateness_seconds', 'taskqueue, '), '{{taskqueue}} p50'],
        [quantile(0.99, 'taskqueue_schedule_lateness_seconds', 'taskqueue, '), '{{taskqueue}} p99'],
      ),
      chart(
        'Slots sent and missed',
        'What beat has published, and what it has accounted as missed.',
        'ops',
        [`sum by (taskqueue) (rate(taskqueue_schedule_runs_total{${OF}}[$__rate_interval]))`, '{{taskqueue}} sent'],
        [`sum by (taskqueue) (rate(taskqueue_schedule_missed_total{${OF}}[$__rate_interval]))`, '{{taskqueue}} missed'],
      ),
      chart(
        'Who fires',
        'Beats that hold the lease: one for each TaskQueue. Held while clocks disagree.',
        'short',
        [`sum by (taskqueue) (taskqueue_beat_leader{${OF}})`, '{{taskqueue}} leaders'],
        [`sum by (taskqueue) (taskqueue_beat_held{${OF}})`, '{{taskqueue}} held'],
      ),
    ],
  },
  {
    title: 'Clocks and patrol',
    panels: [
      chart('Skew', "Pods' clocks minus the broker's, NTP's and beat's.", 's', [
        `taskqueue_clock_offset_seconds{${OF}}`,
        '{{pod}} against {{against}}',
      ]),
      chart('Clocks set', 'How often the clock of a pod’s node was set.', 'short', [
        `sum by (pod) (increase(taskqueue_clock_steps_total{${OF}}[$__rate_interval]))`,
        '{{pod}}',
      ]),
      {
        title: 'Findings of patrol',
        about: 'What needs a person, and what could not be asked.',
        kind: 'table',
        unit: 'short',
        width: 8,
        queries: [
          { expr: `sum by (namespace, taskqueue, code, severity) (taskqueue_patrol_findings{${OF}}) > 0`, legend: '' },
        ],
      },
    ],
  },
  {
    title: 'Operator',
    panels: [
      chart('Reconciles', 'Reconciles a second by outcome.', 'ops', [
        'sum by (outcome) (rate(taskqueue_operator_reconciles_total[$__rate_interval]))',
        '{{outcome}}',
      ]),
      chart(
        'Time of a reconcile, TaskQueues that wait',
        'How long one takes, and how many wait for theirs.',
        's',
        [
          'histogram_quantile(0.99, sum by (le) (rate(taskqueue_operator_reconcile_seconds_bucket[$__rate_interval])))',
          'p99',
        ],
        ['sum(taskqueue_operator_workqueue_depth)', 'waiting'],
      ),
      chart(
        'Leaders, troubles',
        'Operators that lead: one. Lists and watches that failed and were tried again.',
        'short',
        ['sum(taskqueue_operator_leader)', 'leaders'],
        ['sum(increase(taskqueue_operator_watch_troubles_total[$__rate_interval]))', 'watch troubles'],
      ),
    ],
  },
]

const datasource = { type: 'prometheus', uid: '${datasource}' }
const HEIGHT = { stat: 4, timeseries: 8, table: 8 }

function dashboard(): object {
  const panels: object[] = []
  let y = 0
  for (const row of rows) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y, w: 24, h: 1 },
    })
    y++
    let [x, tallest] = [0, 0]
    for (const panel of row.panels) {
      if (x + panel.width > 24) [x, y, tallest] = [0, y + tallest, 0]
      panels.push(grafanaPanel(panel, panels.length + 1, { x, y, w: panel.width, h: HEIGHT[panel.kind] }))
      x += panel.width
      tallest = Math.max(tallest, HEIGHT[panel.kind])
    }
    y += tallest
  }
  return {
    uid: 'taskqueue',
    title: 'TaskQueues',
    description: 'Backlog, work, workers, beat, clocks and findings of every TaskQueue.',
    tags: ['taskqueue'],
    schemaVersion: 39,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    timezone: 'browser',
    templating: { list: variables() },
    panels,
  }
}

function grafanaPanel({ title, about, kind, unit, queries }: Panel, id: number, gridPos: object): object {
  return {
    id,
    type: kind,
    title,
    description: about,
    datasource,
    gridPos,
    fieldConfig: {
      defaults: { unit, ...(kind === 'timeseries' ? { min: unit === 's' ? null : 0 } : {}) },
      overrides: [],
    },
    options:
      kind === 'timeseries'
        ? {
            legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
            tooltip: { mode: 'multi', sort: 'desc' },
          }
        : kind === 'stat'
          ? { colorMode: 'value', graphMode: 'area', reduceOptions: { calcs: ['lastNotNull'] } }
          : {},
    ...(kind === 'table' ? { transformations: [{ id: 'organize', options: { excludeByName: { Time: true } } }] } : {}),
    targets: queries.map(({ expr, legend }, i) => ({
      refId: String.fromCodePoint(65 + i),
      datasource,
      editorMode: 'code',
      expr,
      ...(kind === 'table' ? { format: 'table', instant: true } : { legendFormat: legend, range: true }),
    })),
  }
}

function variables(): object[] {
  const labels = (name: string, query: string): object => ({
    name,
    label: name,
    type: 'query',
    datasource,
    definition: query,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { text: ['All'], value: ['$__all'] },
  })
  return [
    { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus', current: {} },
    labels('namespace', 'label_values(taskqueue_status_condition, namespace)'),
    labels('taskqueue', 'label_values(taskqueue_status_condition{namespace=~"$namespace"}, taskqueue)'),
  ]
}

const text = await format(JSON.stringify(dashboard()), { parser: 'json', printWidth: 120 })
writeOrCheck([{ path: join(import.meta.dirname, 'dashboard.json'), text }])
