// Commands that ask the broker, by the project's own command line inside of a pod: schedules, run-now, dead, patrol.

import type { Command } from 'commander'
import { runInside, SCHEDULES } from './inside.ts'
import type { Session } from './session.ts'

export function addAsking(program: Command, session: Session): void {
  const inBeat = (name: string, ...args: string[]): Promise<number> =>
    runInside(session.kubectl, name, [...args, '--schedules', SCHEDULES, ...session.jsonFlag], true)
  program
    .command('schedules <name>')
    .description('schedules with their last and next run, as beat has them')
    .action(async (name: string) => {
      session.code = await inBeat(name, 'schedule', 'list')
    })
  program
    .command('run-now <name> <schedule>')
    .description("send a schedule's task now; its slots stay as they are")
    .action(async (name: string, schedule: string) => {
      session.code = await inBeat(name, 'schedule', 'run', schedule)
    })
  program
    .command('dead <name> [arguments...]')
    .description('dead letters: list (default), show ID, retry ID, drop ID, with their filters')
    .allowUnknownOption()
    .action(async (name: string, rest: string[]) => {
      const asked = ['dead', ...(rest.length > 0 ? rest : ['list']), ...session.jsonFlag]
      session.code = await runInside(session.kubectl, name, asked)
    })
  program
    .command('patrol <name>')
    .description('look for what fails in silence; exit 1 when something needs a person')
    .action(async (name: string) => {
      const { beat } = (await session.read(name)).spec
      const declared = beat !== undefined && (beat.scheduler ?? 'Declared') === 'Declared'
      session.code = declared
        ? await inBeat(name, 'patrol')
        : await runInside(session.kubectl, name, ['patrol', ...session.jsonFlag])
    })
}
