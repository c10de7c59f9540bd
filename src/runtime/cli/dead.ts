// `taskqueue dead`: messages that will not run by themselves any more, and what to do with them.
import type { Command } from 'commander'
import { TaskApp } from '../app.ts'
import type { ListedDeadLetter, Store, StoredDeadLetter } from '../broker/store.ts'
import type { Publication } from '../broker/transport.ts'
import { MessageError, TaskQueueError, UsageError } from '../errors.ts'
import { RedisStore } from '../broker/redis/store.ts'
import { CONSUMER_MAX_BODY_BYTES, decodeEnvelope } from '../protocol/envelope.ts'
import { decodeTask, encodeRevival } from '../protocol/task-message.ts'
import { addDeadFilter, deadFilter } from './dead-filter.ts'
import { addFlags, parseCount, settingsFrom } from './options.ts'
import { clip, printJson, printLine, printTable } from './output.ts'

const ALL = 1_000_000

export function addDeadCommand(program: Command): void {
  const dead = program.command('dead').description('look at dead letters, run them again, drop them')
  const list = dead
    .command('list')
    .description('the newest first; exit 1 when there are any')
    .option('--limit <n>', 'how many at most', '50')
    .option('--json', 'one line of JSON')
  addFlags(addDeadFilter(list), 'connection').action(listLetters)
  const show = dead
    .command('show')
    .description('one letter, with its traceback and its message')
    .argument('<id>', 'as "dead list" shows it')
    .option('--json', 'one line of JSON')
  addFlags(show, 'connection').action(showLetter)
  const retry = dead
    .command('retry')
    .description('run them again from the start: the same id, no retries spent')
    .argument('[ids...]')
    .option('--all', 'every letter whose message can be understood')
    .option('--to-queue <name>', 'another queue than the one they died on')
    .option('--json', 'one line of JSON')
  addFlags(addDeadFilter(retry), 'connection', 'sending').action(retryLetters)
  const drop = dead
    .command('drop')
    .description('forget them')
    .argument('[ids...]')
    .option('--all', 'every letter')
    .option('--json', 'one line of JSON')
  addFlags(addDeadFilter(drop), 'connection').action(dropLetters)
}

type Flags = Record<string, unknown>

async function withStore<T>(flags: Flags, run: (store: Store, app: TaskApp) => Promise<T>): Promise<T> {
  settingsFrom({ ...flags, queues: undefined }, process.env)
  const app = new TaskApp({ name: 'taskqueue' })
  const store = new RedisStore({ url: app.settings.brokerUrl, keyPrefix: app.settings.keyPrefix })
  try {
    return await run(store, app)
  } finally {
    await Promise.all([store.close(), app.close()])
  }
}

async function listLetters(flags: Flags): Promise<void> {
  await withStore(flags, async (store) => {
    const limit = parseCount('--limit', String(flags['limit']))
    const filter = deadFilter(flags, Date.now())
    const found = await store.listDeadLetters(filter ? ALL : limit)
    const matching = filter ? found.filter(filter) : found
    const letters = matching.slice(0, limit)
    const count = filter ? matching.length : await store.countDeadLetters()
    if (count > 0) process.exitCode = 1
    if (flags['json'] === true) {
      printJson({ count, letters })
      return
    }
    printTable(
      ['ID', 'TASK', 'QUEUE', 'REASON', 'DIED', 'ERROR'],
      letters.map((letter) => [
        letter.key,
        letter.task ?? '-',
        letter.queue,
        letter.reason,
        new Date(letter.diedAt).toISOString(),
        clip(letter.error, 80),
      ]),
      'there are no dead letters',
    )
    if (count > letters.length) printLine(`${count - letters.length} more: --limit shows them`)
  })
}

async function find(store: Store, id: string): Promise<StoredDeadLetter> {
  const letter = await store.readDeadLetter(id)
  if (!letter)
    throw new TaskQueueError(
      'DeadLetterUnknown',
      `there is no dead letter ${id}; "taskqueue dead list" shows those that are`,
    )
  return letter
}

async function showLetter(id: string, flags: Flags): Promise<void> {
  await withStore(flags, async (store) => {
    const letter = await find(store, id)
    if (flags['json'] === true) {
      printJson(letter)
      return
    }
    const { message, traceback, key, ...fields } = letter
    for (const [name, value] of Object.entries({ ...fields, diedAt: new Date(letter.diedAt).toISOString() })) {
      printLine(`${name.padEnd(10)} ${value === null ? '-' : String(value)}`)
    }
    printLine(`\n${traceback ?? '(no traceback)'}\n\n${describeMessage(message)}`)
    const others = (await store.listDeadLetters(ALL)).filter((other) => other.id === letter.id && other.key !== key)
    if (others.length > 0) printLine(`\nother letters of this id: ${others.map((other) => other.key).join(', ')}`)
  })
}

function describeMessage(message: string): string {
  try {
    const task = decodeTask(decodeEnvelope(message, { maxBodyBytes: CONSUMER_MAX_BODY_BYTES }))
    return `args    ${JSON.stringify(task.args)}\nkwargs  ${JSON.stringify(task.kwargs)}\nheaders ${JSON.stringify(task.headers)}`
  } catch {
    return message
  }
}

async function retryLetters(ids: readonly string[], flags: Flags): Promise<void> {
  await withStore(flags, async (store, app) => {
    const refused: { id: string; error: string }[] = []
    const retried: string[] = []
    for (const id of await chosen(store, ids, flags)) {
      try {
        const letter = await find(store, id)
        const queue = app.route(typeof flags['toQueue'] === 'string' ? flags['toQueue'] : letter.queue)
        if (await store.reviveDeadLetter(id, revival(letter, queue))) retried.push(id)
      } catch (error) {
        if (error instanceof MessageError)
          refused.push({ id, error: `its message can't be understood, so it would die again: ${error.message}` })
        else if (error instanceof TaskQueueError && error.code === 'DeadLetterUnknown')
          refused.push({ id, error: error.message })
        else throw error
      }
    }
    if (refused.length > 0) process.exitCode = 1
    if (flags['json'] === true) {
      printJson({ retried, refused })
      return
    }
    for (const { id, error } of refused) printLine(`${id}: ${error}`)
    printLine(`${retried.length} sent again`)
  })
}

function revival(letter: StoredDeadLetter, queue: string): Publication {
  const task = decodeTask(decodeEnvelope(letter.message, { maxBodyBytes: CONSUMER_MAX_BODY_BYTES }))
  return { queue, priority: task.priority, raw: encodeRevival(task, queue).raw }
}

async function dropLetters(ids: readonly string[], flags: Flags): Promise<void> {
  await withStore(flags, async (store) => {
    const wanted = await chosen(store, ids, flags)
    const dropped = await store.dropDeadLetters(wanted)
    // Of all or some, others may have dropped or forgotten a part meanwhile; an id that isn't there is a mistake.
    if (ids.length > 0 && dropped < wanted.length) process.exitCode = 1
    if (flags['json'] === true) {
      printJson({ dropped })
      return
    }
    printLine(`${dropped} dropped`)
  })
}

async function chosen(store: Store, ids: readonly string[], flags: Flags): Promise<readonly string[]> {
  const filter = deadFilter(flags, Date.now())
  const ways = [ids.length > 0, flags['all'] === true, filter !== undefined].filter(Boolean)
  if (ways.length !== 1)
    throw new UsageError('OptionMissing', 'say which: ids, or --all, or a filter such as --task or --since')
  if (ids.length > 0) return ids
  const letters: readonly ListedDeadLetter[] = await store.listDeadLetters(ALL)
  return (filter ? letters.filter(filter) : letters).map((letter) => letter.key)
}
