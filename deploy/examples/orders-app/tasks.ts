// The example's tasks: what a Node worker of the TaskQueue `orders` executes. The queue, the broker and all limits come from the
// resource (deploy/examples/orders.yaml), none of them from here.

import { setTimeout as delay } from 'node:timers/promises'
import { TaskApp } from '@taskqueue/runtime'

export const app = new TaskApp({ name: 'orders' })

/** Takes a moment, as a payment provider would, and fails now and then when asked to: at-least-once is for that. */
export const charge = app.task(
  'orders.charge',
  { maxRetries: 5, retryBackoffSeconds: 1 },
  async (ctx, orderId: string, options: { failFirst?: number; millis?: number } = {}) => {
    if (ctx.attempt <= (options.failFirst ?? 0))
      throw new Error(`The payment provider is busy (attempt ${ctx.attempt})`)
    await delay(options.millis ?? 50, undefined, { signal: ctx.signal })
    ctx.log.info({ orderId }, 'charged')
    // `redelivered` tells that a worker which had this job before was lost.
    return { orderId, charged: true, redelivered: ctx.redelivered }
  },
)

/** Run by beat, as declared in the resource. */
export const sweep = app.task('carts.sweep', async (ctx) => {
  ctx.log.info({ slot: ctx.scheduledFor }, 'swept abandoned carts')
  return Promise.resolve('swept')
})
