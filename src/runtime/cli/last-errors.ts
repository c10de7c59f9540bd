// What a process says of errors that nobody caught: one JSON line each, like everything else that it says.
import type { Logger } from '../log.ts'

/** @param ending what follows from the end of this process */
export function tellLastErrors(log: Logger, ending: string): void {
  process.on('uncaughtException', (error) => {
    log.fatal({ event: 'uncaught-exception', error }, ending)
    process.exit(1)
  })
  // An error that somebody's code let go of is no reason to end: say so, and go on.
  process.on('unhandledRejection', (error) =>
    log.error({ event: 'unhandled-rejection', error }, 'a promise was rejected and nobody looked'),
  )
}
