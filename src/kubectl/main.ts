// `kubectl taskqueue`: its flags, its commands and its exit codes: 0 done, 1 found or failed, 2 wrong use.

import { Command, CommanderError } from 'commander'
import { addAsking } from './asking.ts'
import { completion } from './completion.ts'
import { PluginError } from './errors.ts'
import { addLooking } from './looking.ts'
import { Session } from './session.ts'
import { addSteering } from './steering.ts'

/** The command line, ready to parse, and the session that its commands end in. */
export function createProgram(): { program: Command; session: Session } {
  const program = new Command('kubectl taskqueue')
    .description('look at TaskQueues and steer them, with your own rights')
    .option('-n, --namespace <name>', 'of the TaskQueue')
    .option('--context <name>', 'of the kubeconfig')
    .option('--kubeconfig <file>', 'another one than kubectl would take')
    .option('-o, --output <format>', 'json for programs')
    .option('--no-color', 'no colours, also on a terminal')
    .exitOverride()
    .showHelpAfterError()
  const session = new Session(program)
  addLooking(program, session)
  addAsking(program, session)
  addSteering(program, session)
  program
    .command('completion')
    .description('a script by which the shell completes: source <(kubectl taskqueue completion)')
    .action(() => {
      process.stdout.write(`${completion(program.commands.map((command) => command.name()))}\n`)
    })
  return { program, session }
}

/** @returns the exit code */
export async function main(args: readonly string[]): Promise<number> {
  const { program, session } = createProgram()
  try {
    await program.parseAsync([...args], { from: 'user' })
    return session.code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (!(error instanceof PluginError)) throw error
    process.stderr.write(`${error.message}\n`)
    return error.code === 'WrongUse' ? 2 : 1
  }
}
