// What a process does about errors that nobody caught: one JSON line each, like everything else that it says; then the attempt of the
// task whose it was fails, or the process ends. docs/errors.md has the rules, docs/decisions/023 the reasons.
import { currentTask, failTask } from '../current-task.ts'
import { asError } from '../errors.ts'
import type { Logger } from '../log.ts'

/** EX_SOFTWARE of sysexits.h: an error that nobody caught ended the process. */
export const UNCAUGHT_EXIT_CODE = 70

/**
 * @param ending what follows from the end of this process
 * @param end ends it in order, with UNCAUGHT_EXIT_CODE
 */
export function tellLastErrors(log: Logger, ending: string, end: () => void): void {
  process.on('uncaughtException', (error) => {
    // What it went through on its way was left half-done: nothing is safe to go on with.
    log.fatal({ event: 'uncaught-exception', error, ...currentTask()?.logFields }, ending)
    process.exit(UNCAUGHT_EXIT_CODE)
  })
  process.on('unhandledRejection', (reason) => {
    if (failTask(asError(reason), log)) return
    log.fatal({ event: 'unhandled-rejection', error: reason }, `a promise was rejected and nobody looked: ${ending}`)
    end()
  })
}
