// `@taskqueue/runtime/triggers`: cron, intervals and schedules, parsed and checked. Nothing here runs anything.
export { checkZone, cronProblem, parseCron } from './cron.ts'
export { parseEvery } from './every.ts'
export { dueSlots, type DueSlots } from './misfire.ts'
export { DEFAULT_MISFIRE_GRACE_SECONDS, parseSchedules, type CatchUp, type Schedule } from './schedule.ts'
export { parseSchedulesFile } from './schedules-file.ts'
export type { Trigger } from './trigger.ts'
