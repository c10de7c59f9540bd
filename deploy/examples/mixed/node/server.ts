// The Node API: a letter is a task of the Node workers, a score one of the Python workers. It runs no task itself.

import Fastify from 'fastify'
import { createLog } from '@taskqueue/runtime/log'
import { app, send } from './tasks.ts'

const { HOST: host = '0.0.0.0', PORT: port = '3000' } = process.env
const server = Fastify({
  loggerInstance: createLog({ fields: { service: 'mixed-node-api' } }),
  disableRequestLogging: true,
  // What comes as JSON has its types: text that looks like a number is a mistake of the sender.
  ajv: { customOptions: { coerceTypes: false } },
})

const text = { type: 'string', minLength: 1, maxLength: 10_000 }
const letter = { type: 'object', required: ['to', 'text'], properties: { to: text, text } }
const values = { type: 'array', items: { type: 'number' }, minItems: 1, maxItems: 1_000 }
const score = { type: 'object', required: ['values'], properties: { values } }

server.get('/healthz', () => ({ status: 'ok' }))

server.post<{ Body: { to: string; text: string } }>(
  '/letters',
  { schema: { body: letter } },
  async (request, reply) => {
    const { id } = await send.delay(request.body.to, request.body.text)
    return reply.code(202).send({ id })
  },
)

// By its name: the code of the task is Python's.
server.post<{ Body: { values: number[] } }>('/scores', { schema: { body: score } }, async (request, reply) => {
  const { id } = await app.send('scores.rate', [request.body.values], { queue: 'mixed-python' })
  return reply.code(202).send({ id })
})

server.get<{ Params: { id: string } }>('/results/:id', async ({ params: { id } }) => {
  const stored = await app.result(id).peek()
  return { state: stored?.status ?? 'PENDING', result: stored?.status === 'SUCCESS' ? stored.result : null }
})

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    // What is asked already is answered first.
    void server.close().then(() => app.close())
  })
await server.listen({ host, port: Number(port) })
