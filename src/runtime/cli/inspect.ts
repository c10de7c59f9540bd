// `taskqueue inspect`: asks workers over Celery's remote control, Node's and Python's alike.
import type { Command } from 'commander'
import { TaskApp } from '../app.ts'
import { askWorkers } from '../control/ask-workers.ts'
import { TaskQueueError } from '../errors.ts'
import { isJsonObject } from '../protocol/envelope.ts'
import { addFlags, parseNumber, settingsFrom } from './options.ts'
import { printJson, printLine } from './output.ts'

const METHODS: Readonly<Record<string, string>> = {
  ping: 'who answers',
  active: 'tasks that run now',
  reserved: 'tasks taken and not begun (Node workers take none ahead)',
  scheduled: 'tasks that wait for their time, at most 100 a worker',
  registered: 'names of the tasks a worker can run',
  active_queues: 'queues a worker consumes',
  stats: 'counts, limits and resources of a worker',
}

export function addInspectCommand(program: Command): void {
  const inspect = program.command('inspect').description('ask running workers; exit 1 when none answers')
  for (const [method, description] of Object.entries(METHODS)) {
    const command = inspect
      .command(method)
      .description(description)
      .option('--destination <names>', 'workers to ask, separated by commas: celery@host,...')
      .option('--timeout <seconds>', 'how long to wait for answers', '1')
      .option('--json', 'one line of JSON: {"<worker>": answer}')
    addFlags(command, 'connection').action((flags: Record<string, unknown>) => ask(method, flags))
  }
}

async function ask(method: string, flags: Record<string, unknown>): Promise<void> {
  settingsFrom(flags, process.env)
  const destination = typeof flags['destination'] === 'string' ? flags['destination'].split(',') : undefined
  const timeoutMs = parseNumber('--timeout', String(flags['timeout'])) * 1000
  const app = new TaskApp({ name: 'taskqueue' })
  let answers: Readonly<Record<string, unknown>>
  try {
    answers = await askWorkers(app.transport, method, { destination, timeoutMs })
  } finally {
    await app.close()
  }
  if (Object.keys(answers).length === 0) {
    throw new TaskQueueError(
      'NoWorkerAnswered',
      `no worker answered within ${timeoutMs / 1000} s: is one running on this broker, database and key prefix?`,
    )
  }
  if (flags['json'] === true) {
    printJson(answers)
    return
  }
  for (const [worker, answer] of Object.entries(answers)) printAnswer(worker, answer)
}

function printAnswer(worker: string, answer: unknown): void {
  if (isJsonObject(answer) && answer['ok'] === 'pong') {
    printLine(`${worker}: pong`)
    return
  }
  printLine(`${worker}:`)
  if (!Array.isArray(answer)) {
    printLine(JSON.stringify(answer, undefined, 2))
    return
  }
  if (answer.length === 0) {
    printLine('  (none)')
    return
  }
  for (const item of answer as unknown[]) printLine(`  ${summary(item)}`)
}

function summary(item: unknown): string {
  if (typeof item === 'string') return item
  if (!isJsonObject(item)) return JSON.stringify(item)
  const request = isJsonObject(item['request']) ? item['request'] : item
  if (typeof request['id'] === 'string') {
    const when = typeof item['eta'] === 'string' ? `  due ${item['eta']}` : ''
    return `${request['id']}  ${String(request['name'])}  ${JSON.stringify(request['args'])}${when}`
  }
  return typeof item['name'] === 'string' ? item['name'] : JSON.stringify(item)
}
