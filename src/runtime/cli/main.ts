// The `taskqueue` command. Exit codes: 0 done, 1 something was found or failed, 2 wrong use.
import { Command, CommanderError } from 'commander'
import { TaskQueueError, UsageError, asError } from '../errors.ts'
import { VERSION } from '../version.ts'
import { addBeatCommand } from './beat.ts'
import { addDeadCommand } from './dead.ts'
import { addInspectCommand } from './inspect.ts'
import { addPatrolCommand } from './patrol.ts'
import { addScheduleCommand } from './schedule.ts'
import { addSendCommand } from './send.ts'
import { addWorkerCommand } from './worker.ts'

/** The command line, ready to parse. */
export function createProgram(): Command {
  const program = new Command('taskqueue')
    .description("Background jobs over Celery's wire: workers, schedules, and what to look at when something is wrong.")
    .version(VERSION)
    .showHelpAfterError('(--help tells more)')
    .exitOverride()
  // Subcommands inherit these settings when they are made.
  addWorkerCommand(program)
  addBeatCommand(program)
  addSendCommand(program)
  addInspectCommand(program)
  addDeadCommand(program)
  addScheduleCommand(program)
  addPatrolCommand(program)
  return program
}

/** Runs the command line; one that fails ends the process with its code. */
export async function main(argv: readonly string[] = process.argv): Promise<void> {
  try {
    await createProgram().parseAsync([...argv])
  } catch (thrown) {
    // A command that gave up ends, whatever it has already opened: connections that just got ready would keep it for good.
    process.exit(report(thrown))
  }
}

function report(thrown: unknown): number {
  // commander has printed its message already; --help and --version end here too, with 0.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2
  if (thrown instanceof TaskQueueError) {
    process.stderr.write(`taskqueue: ${thrown.message} [${thrown.code}]\n`)
    return thrown instanceof UsageError || thrown.code === 'BrokerUrlInvalid' ? 2 : 1
  }
  process.stderr.write(`taskqueue: ${asError(thrown).stack ?? String(thrown)}\n`)
  return 1
}
