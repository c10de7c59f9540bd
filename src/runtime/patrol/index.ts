// `@taskqueue/runtime/patrol`: looks for what fails in silence, for those who have a connection to a broker. It runs nothing and tells
// nobody: what follows from a finding is up to its reader.
export { needsPerson, ordered, type Finding, type FindingCode, type Severity } from './finding.ts'
export type { Consumer, Limits, Look, Survey } from './look.ts'
export { Patrol } from './patrol.ts'
export type { StalledQueue } from './queues.ts'
export { look, survey, type Ground } from './reading.ts'
