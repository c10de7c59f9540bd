// An Express server with a Scheduler inside: what the clock begins outlives a reload, and runs once however many processes serve. Not
// for long work, nor for work to be retried or spread: those are tasks (docs/choosing.md). Fastify: ../scheduler-fastify.
import { once } from 'node:events'
import { appendFile } from 'node:fs/promises'
import express from 'express'
import { Scheduler, SqliteJobStore, every } from '@taskqueue/runtime'
import { createLog } from '@taskqueue/runtime/log'

const {
  HOST: host = '0.0.0.0',
  PORT: port = '3000',
  // All processes of this machine share it; on several machines take a RedisJobStore.
  JOBS_DB: jobsDb = 'jobs.db',
  LEDGER: ledger = 'ledger.jsonl',
  PERIOD_SECONDS: periodSeconds = '60',
} = process.env
const log = createLog({ fields: { service: 'shop', pid: process.pid } })

const scheduler = new Scheduler({ store: new SqliteJobStore(jobsDb), log })
// By name: the store outlives this process, and the next one finds the function under it.
scheduler.register('close-period', async ({ scheduledFor }) => {
  await appendFile(ledger, `${JSON.stringify({ slot: scheduledFor.getTime(), pid: process.pid })}\n`)
})
// At every start: a job that is there keeps its next slot. Each period is closed once, also those that ended while no process ran,
// up to an hour of them; for work where only the latest counts, such as a cache, leave these options out.
await scheduler.addJob('close-period', every(Number(periodSeconds)), {
  coalesce: false,
  misfireGraceSeconds: 3600,
  maxInstances: 60,
})

const app = express()
app.disable('x-powered-by')
app.get('/healthz', (_request, response) => void response.json({ status: 'ok' }))
app.get('/jobs', async (_request, response) => void response.json(await scheduler.getJobs()))

const server = app.listen(Number(port), host)
await once(server, 'listening')
// After listen: a process that can't serve claims no slot.
await scheduler.start()
let stopping: Promise<void> | undefined
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void (stopping ??= stop(signal)))
const address = server.address()
log.info({ event: 'listening', port: typeof address === 'object' ? address?.port : address }, 'serving')

/** Runs that are under way end first; those of another process go on. */
async function stop(signal: string): Promise<void> {
  log.info({ event: 'stopping', signal }, 'stopping')
  await scheduler.shutdown()
  // Answers what is asked already; idle connections are closed.
  await new Promise((resolve) => server.close(resolve))
  // A process of a cluster is held open by its channel to the primary.
  process.exit(0)
}
