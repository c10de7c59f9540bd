// `taskqueue send`: sends one task by its name.
import type { Command } from 'commander'
import { TaskApp } from '../app.ts'
import { UsageError } from '../errors.ts'
import { isJsonObject } from '../protocol/envelope.ts'
import { addFlags, parseJson, parseNumber, settingsFrom } from './options.ts'
import { printJson, printLine } from './output.ts'

interface SendFlags {
  readonly args: string
  readonly kwargs: string
  readonly queue?: string
  readonly priority?: string
  readonly countdown?: string
  readonly eta?: string
  readonly expires?: string
  readonly wait?: string
  readonly json?: boolean
}

export function addSendCommand(program: Command): void {
  const command = program
    .command('send')
    .description('send a task, whoever runs it')
    .argument('<name>', 'name of the task')
    .option('--args <json>', 'positional arguments', '[]')
    .option('--kwargs <json>', 'keyword arguments', '{}')
    .option('--queue <name>', 'the default queue when left out')
    .option('--priority <n>', '0 (most urgent) to 9')
    .option('--countdown <seconds>', 'not before so many seconds')
    .option('--eta <instant>', 'not before this instant, with an offset: 2026-01-31T09:00:00+08:00')
    .option('--expires <seconds>', 'not after so many seconds')
    .option('--wait <seconds>', 'wait for the result and print it; exit 1 when the task fails')
    .option('--json', 'one line of JSON')
    .addHelpText(
      'after',
      `
  taskqueue send orders.charge --args '["A-17"]' --queue mail
  taskqueue send reports.nightly --kwargs '{"day": "2026-01-31"}' --countdown 30 --json`,
    )
  addFlags(command, 'connection', 'sending').action(runSend)
}

async function runSend(name: string, flags: SendFlags & Record<string, unknown>): Promise<void> {
  settingsFrom({ ...flags, queues: undefined }, process.env)
  const args = parseJson('--args', flags.args)
  const kwargs = parseJson('--kwargs', flags.kwargs)
  if (!Array.isArray(args)) throw new UsageError('OptionInvalid', `--args is a list, such as '["a", 1]'`)
  if (!isJsonObject(kwargs)) throw new UsageError('OptionInvalid', `--kwargs is an object, such as '{"day": "today"}'`)
  const app = new TaskApp({ name: 'taskqueue' })
  try {
    const result = await app.send(name, args, {
      kwargs,
      ...(flags.queue === undefined ? {} : { queue: flags.queue }),
      ...(flags.priority === undefined ? {} : { priority: parseNumber('--priority', flags.priority) }),
      ...(flags.countdown === undefined ? {} : { countdown: parseNumber('--countdown', flags.countdown) }),
      ...(flags.eta === undefined ? {} : { eta: flags.eta }),
      ...(flags.expires === undefined ? {} : { expires: parseNumber('--expires', flags.expires) }),
    })
    if (flags.wait === undefined) {
      if (flags.json) printJson({ id: result.id })
      else printLine(result.id)
      return
    }
    const value = await result.get({ timeoutSeconds: parseNumber('--wait', flags.wait) })
    if (flags.json) printJson({ id: result.id, result: value })
    else printLine(JSON.stringify(value))
  } finally {
    await app.close()
  }
}
