// A shop's background work: orders, the mail that follows from them, a nightly report, and a task that ends among the dead letters. Which
// queue has how many workers is in taskqueue.yaml, not here.

import { setTimeout as delay } from 'node:timers/promises'
import { PermanentError, TaskApp } from '@taskqueue/runtime'

export const app = new TaskApp({ name: 'shop' })

export const mail = app.task('shop.mail', { queue: 'shop-mail' }, async (ctx, to: string, subject: string) => {
  await delay(100, undefined, { signal: ctx.signal })
  ctx.log.info({ subject }, 'mail sent')
  return { to, subject }
})

/** An order without lines can't be right, however often it is tried: it goes to the dead letters, for a person to decide. */
export const order = app.task(
  'shop.order',
  { queue: 'shop-orders' },
  async (_ctx, id: string, lines: string[], to: string) => {
    if (lines.length === 0) throw new PermanentError(`order ${id} has no lines`)
    const sent = await mail.delay(to, `Your order ${id}`)
    return { id, lines: lines.length, mail: sent.id }
  },
)

/** Run by beat each night. `scheduledFor` is the night that is meant, also when it is late. */
export const report = app.task('shop.report', { queue: 'shop-orders' }, (ctx) => {
  return { night: new Date(ctx.scheduledFor ?? Date.now()).toISOString().slice(0, 10) }
})
