// Commands that show what the API server has: status, workers, logs.

import type { Command } from 'commander'
import { podsOf } from './inside.ts'
import type { Session } from './session.ts'
import { statusText, workersText } from './status.ts'

export function addLooking(program: Command, session: Session): void {
  program
    .command('status <name>')
    .description('figures, pools and conditions; exit 1 when it is not ready')
    .action(async (name: string) => {
      const queue = await session.read(name)
      session.print(queue.status ?? {}, statusText(queue, session.colours))
      const ready = queue.status?.conditions?.find(({ type }) => type === 'Ready')
      session.code = ready?.status === 'True' ? 0 : 1
    })
  program
    .command('workers <name>')
    .description('its worker pods')
    .action(async (name: string) => {
      await session.read(name)
      const pods = await podsOf(session.kubectl, name, 'worker')
      session.print(pods, workersText(pods, session.colours))
    })
  program
    .command('logs <name> [arguments...]')
    .description('lines of all its pods; what follows goes to kubectl logs (-f, --since=10m)')
    .option('--component <which>', 'worker or beat alone')
    .allowUnknownOption()
    .action(async (name: string, rest: string[], { component }: { component?: string }) => {
      const which = component === undefined ? '' : `,app.kubernetes.io/component=${component}`
      const labels = `taskqueue.dev/taskqueue=${name}${which}`
      const how = ['--all-containers', '--prefix', '--max-log-requests=50', '--tail=100']
      session.code = await session.kubectl.hand('logs', '--selector', labels, ...how, ...rest)
    })
}
