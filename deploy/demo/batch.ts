// Sends a batch of jobs through the real producer API and follows their results to the last one.

import type { AsyncResult, TaskApp } from '@taskqueue/runtime'

export interface Batch {
  results: AsyncResult<unknown>[]
  task: string
}

export interface BatchOutcome {
  done: number
  seconds: number
  /** How many ran on a second worker because the first was lost. */
  redelivered: number
  /** One sentence for each job that failed. */
  failures: string[]
}

/** Sends `count` jobs; `argsOf` makes the arguments of each. */
export async function send(
  app: TaskApp,
  task: string,
  count: number,
  argsOf: (i: number) => unknown[],
  queue: string,
): Promise<Batch> {
  const results = await Promise.all(Array.from({ length: count }, (_, i) => app.send(task, argsOf(i), { queue })))
  return { results, task }
}

/** Waits until every job has ended, telling how many have whenever a tenth more did. */
export async function finish(batch: Batch, timeoutSeconds: number, say: (line: string) => void): Promise<BatchOutcome> {
  const started = performance.now()
  const total = batch.results.length
  const failures: string[] = []
  let done = 0
  let redelivered = 0
  await Promise.all(
    batch.results.map(async (result) => {
      try {
        const value = (await result.get({ timeoutSeconds })) as { redelivered?: boolean } | null
        if (value?.redelivered === true) redelivered++
      } catch (error) {
        failures.push(`${batch.task} ${result.id}: ${error instanceof Error ? error.message : String(error)}`)
      }
      done++
      if (done % Math.ceil(total / 10) === 0 || done === total) say(`    ${done} of ${total} jobs are done`)
    }),
  )
  return { done: done - failures.length, redelivered, seconds: (performance.now() - started) / 1000, failures }
}
