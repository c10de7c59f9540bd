// The Node half of a mixed project: the letters that both APIs have sent. Who sends what to whom is in server.ts and ../python/api.py.

import { TaskApp } from '@taskqueue/runtime'

export const app = new TaskApp({ name: 'mixed' })

export const send = app.task('letters.send', { queue: 'mixed-node' }, (ctx, to: string, text: string) => {
  ctx.log.info({ characters: text.length }, 'letter sent')
  return { to, characters: text.length }
})
