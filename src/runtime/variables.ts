// The TASKQUEUE_* variables that workers, beats, producers and the command `taskqueue` read, one entry each. Reading them is settings.ts's.
import { choice, flag, number, text, whole } from './variable.ts'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** By the setting that each becomes. */
export const VARIABLES = {
  brokerUrl: text(
    'TASKQUEUE_BROKER_URL',
    'a URL',
    'The queues; see [brokers](../brokers.md).',
    'redis://127.0.0.1:6379/0',
  ),
  resultUrl: text('TASKQUEUE_RESULT_URL', 'a URL', "The results; the broker's when unset."),
  keyPrefix: text('TASKQUEUE_KEY_PREFIX', 'text', "Goes before every key and channel: kombu's `global_keyprefix`.", ''),
  queues: text(
    'TASKQUEUE_QUEUES',
    'queues, separated by commas',
    'What a worker consumes; the default queue when unset.',
  ),
  defaultQueue: text('TASKQUEUE_DEFAULT_QUEUE', 'a queue', 'Where tasks go that name no queue.', 'celery'),
  environment: choice(
    'TASKQUEUE_ENVIRONMENT',
    'Production',
    ['Production', 'Test'],
    '`Test` sends everything to the default queue.',
  ),
  concurrency: whole('TASKQUEUE_CONCURRENCY', 8, 1, 10_000, 'Tasks at once in one worker.'),
  pool: choice(
    'TASKQUEUE_POOL',
    'async',
    ['async', 'threads'],
    "In the worker's event loop, or each task in a thread; see [tasks](../tasks.md#pools).",
  ),
  visibilityTimeoutSeconds: number(
    'TASKQUEUE_VISIBILITY_TIMEOUT',
    3600,
    1,
    31_536_000,
    'Seconds; what Python workers on these queues have.',
  ),
  shutdownGraceSeconds: number(
    'TASKQUEUE_SHUTDOWN_GRACE_SECONDS',
    30,
    0,
    604_800,
    'How long tasks may go on after SIGTERM.',
  ),
  maxTaskSeconds: number(
    'TASKQUEUE_MAX_TASK_SECONDS',
    0,
    0,
    604_800,
    'How long a task without a hard time limit may hold the event loop of a worker that counts as alive; 0 is no limit.',
  ),
  loopHeldSeconds: number('TASKQUEUE_LOOP_HELD_SECONDS', 30, 1, 86_400, 'How long anything but a task may hold it.'),
  acksLate: flag('TASKQUEUE_ACKS_LATE', true, '`false` acknowledges before a task runs.'),
  maxRetries: whole('TASKQUEUE_MAX_RETRIES', 3, 0, 1_000_000, 'Attempts after the first.'),
  retryBackoffSeconds: number(
    'TASKQUEUE_RETRY_BACKOFF_SECONDS',
    60,
    0,
    86_400,
    'The first delay, which doubles with each attempt.',
  ),
  retryBackoffMaxSeconds: number('TASKQUEUE_RETRY_BACKOFF_MAX_SECONDS', 3600, 0, 864_000, 'The longest delay.'),
  deadMax: whole('TASKQUEUE_DEAD_MAX', 10_000, 1, 1_000_000, 'So many dead letters are kept; the oldest go first.'),
  deadMaxAgeSeconds: whole(
    'TASKQUEUE_DEAD_MAX_AGE_SECONDS',
    2_592_000,
    1,
    315_360_000,
    'A dead letter older than this is forgotten (30 days).',
  ),
  maxLostDeliveries: whole(
    'TASKQUEUE_MAX_LOST_DELIVERIES',
    10,
    1,
    1_000_000,
    'After so many workers lost with it a task is dead.',
  ),
  maxPayloadBytes: whole(
    'TASKQUEUE_MAX_PAYLOAD_BYTES',
    65_536,
    1,
    16 * 1024 * 1024,
    'The longest body that may be published; consumers accept 16 MiB.',
  ),
  resultTtlSeconds: whole('TASKQUEUE_RESULT_TTL_SECONDS', 86_400, 1, 315_360_000, 'How long results are kept.'),
  resultExtended: flag(
    'TASKQUEUE_RESULT_EXTENDED',
    false,
    "Results tell name, arguments, worker, queue and retries as well; Celery's `result_extended`.",
  ),
  trackStarted: flag(
    'TASKQUEUE_TRACK_STARTED',
    false,
    "The state STARTED is stored, for a round trip more a task; Celery's `task_track_started`.",
  ),
  eager: flag('TASKQUEUE_EAGER', false, 'Calls run their task in this process, without a broker: for unit tests.'),
  maxSkewSeconds: number(
    'TASKQUEUE_MAX_SKEW_SECONDS',
    60,
    0.001,
    86_400,
    "How far beat's machine and the broker may disagree about the time.",
  ),
  onSkew: choice(
    'TASKQUEUE_ON_SKEW',
    'Report',
    ['Report', 'HoldBeat'],
    'Beyond that beat reports it, or holds its fire.',
  ),
  logLevel: choice(
    'TASKQUEUE_LOG_LEVEL',
    'info',
    LOG_LEVELS,
    'Lines of this level and above; see [logs](../logging.md).',
  ),
  logArguments: flag(
    'TASKQUEUE_LOG_ARGUMENTS',
    false,
    "Log lines about a task tell its arguments, which may be anybody's data, cut at 1,000 characters.",
  ),
  healthPort: whole(
    'TASKQUEUE_HEALTH_PORT',
    9808,
    0,
    65_535,
    '`/livez`, `/readyz`, `/metrics`; 0 takes a free one. The default gives way to a free one where it is taken.',
  ),
  namespace: text('TASKQUEUE_NAMESPACE', 'text', 'The namespace of the TaskQueue that the process belongs to.'),
  name: text('TASKQUEUE_NAME', 'text', 'That TaskQueue.'),
  podUid: text('TASKQUEUE_POD_UID', 'text', "The pod's UID, for the operator's status."),
} as const

/** Read by the commands, since it comes before there is an app with settings. */
export const APP = text(
  'TASKQUEUE_APP',
  'a file',
  'The ES module that exports the TaskApp as `app` or as default, for `taskqueue worker` and `beat`.',
)
