// The worker process of a peer's campaign: `node peerworker.ts NAME PORT`. Each job leaves the same trace as ours do.

import { setTimeout as delay } from 'node:timers/promises'
import { append, now } from './history.ts'
import type { PeerLibrary } from './peer.ts'

const [name = '', port = ''] = process.argv.slice(2)
const ledger = process.env['HISTORY_LEDGER'] ?? ''
const { library } = (await import(`./subjects/${name}.ts`)) as { library: PeerLibrary }

const close = await library.work(Number(port), async ({ id, kind, millis }, attempt) => {
  const fails = kind === 'doomed' || (kind === 'flaky' && attempt <= 2)
  const run = { id, attempt, pid: process.pid }
  append(ledger, { what: 'begin', ...run, at: now() })
  await delay(millis)
  append(ledger, { what: fails ? 'threw' : 'end', ...run, at: now() })
  if (fails) throw new Error(`${id} fails, as it is to`)
})
process.once('SIGTERM', () => {
  void close().finally(() => process.exit(0))
})
