// What a log line looks like, and what never stands in one.
import { describe, expect, it } from 'vitest'
import { placeFields, redactSecrets } from '../../../src/runtime/log-fields.ts'
import { prettyLine } from '../../../src/runtime/log-pretty.ts'
import { createLog } from '../../../src/runtime/log.ts'
import { readSettings } from '../../../src/runtime/settings.ts'
import { taskFields } from '../../../src/runtime/worker/task-fields.ts'
import type { TaskMessage } from '../../../src/runtime/protocol/task-message.ts'
import { complaints } from '../../fixtures/log-schema.ts'

function written(write: (log: ReturnType<typeof createLog>) => void, env = {}): Record<string, unknown> {
  let text = ''
  const destination = { write: (line: string) => void (text += line) }
  write(createLog({ destination, env, fields: { service: 'shop', component: 'worker' } }))
  return JSON.parse(text) as Record<string, unknown>
}

describe('a log line', () => {
  it('has the fields that every process has, and an error with its causes', () => {
    const error = Object.assign(new TypeError('no card', { cause: new Error('no wallet') }), { code: 'E_CARD' })
    const env = { TASKQUEUE_NAME: 'orders', TASKQUEUE_NAMESPACE: 'shop', KUBERNETES_SERVICE_HOST: '10.0.0.1' }
    const line = written((log) => log.error({ event: 'x', error }, 'it failed'), env)
    expect(line).toMatchObject({
      level: 'error',
      msg: 'it failed',
      service: 'shop',
      taskqueue: 'orders',
      namespace: 'shop',
    })
    expect(line['pod']).toBeTypeOf('string')
    expect(line['error']).toMatchObject({ type: 'TypeError', code: 'E_CARD', message: 'no card' })
    expect((line['error'] as { stack: string }).stack).toContain('Caused by: Error: no wallet')
    expect(complaints([line])).toEqual([])
  })

  it('names no pod outside of Kubernetes', () => {
    expect(placeFields({ TASKQUEUE_NAME: 'orders' }, 'laptop')).toEqual({ taskqueue: 'orders' })
    expect(placeFields({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 'orders-1')).toEqual({ pod: 'orders-1' })
  })

  it('tells no password: not in its text, an error, or a field of that name', () => {
    const url = 'redis://user:p@ss"w/rd@host:6379/0'
    const line = written((log) =>
      log.warn(
        { url: 'rediss://:hunter2@h/1', error: new Error('at redis://u:hunter2@h'), card: { password: 'hunter2' } },
        'to redis://u:hunter2@h:1',
      ),
    )
    expect(JSON.stringify(line)).not.toContain('hunter2')
    expect(line).toMatchObject({ url: 'rediss://:***@h/1', msg: 'to redis://u:***@h:1', card: { password: '***' } })
    expect(redactSecrets(url)).not.toContain('w/rd@host:6379/0 ')
    expect(redactSecrets('redis://host:6379/0 and celery@host')).toBe('redis://host:6379/0 and celery@host')
  })

  it('tells arguments only when it is told to', () => {
    const message = { id: 'a', task: 't', rootId: undefined, retries: 1, args: ['x'.repeat(2000)], kwargs: {} }
    const fields = taskFields(message as unknown as TaskMessage, 'q')
    expect(fields).toEqual({ task: 't', taskId: 'a', rootId: 'a', queue: 'q', attempt: 2 })
    expect(String(taskFields(message as unknown as TaskMessage, 'q', true)['args']).length).toBeLessThan(1100)
    expect(readSettings({}).logArguments).toBe(false)
    expect(readSettings({ TASKQUEUE_LOG_ARGUMENTS: 'true' }).logArguments).toBe(true)
  })

  it('is text for a person at a terminal, with the stack below', () => {
    const line = {
      time: '2026-11-25T02:20:58.496Z',
      level: 'error',
      msg: 'it failed',
      taskId: 'a',
      error: { stack: 'E: x\n at y' },
    }
    const text = prettyLine(JSON.stringify(line))
    expect(text).toContain('02:20:58.496')
    expect(text).toContain('it failed')
    expect(text).toContain('taskId=a')
    expect(text).toContain('    E: x\n     at y\n')
    expect(prettyLine('no JSON\n')).toBe('no JSON\n')
  })
})

describe('the check of lines', () => {
  it('finds a field that is unknown, missing, or of another type', () => {
    const good = { time: '2026-11-25T02:20:58.496Z', level: 'info', msg: 'x', service: 's', component: 'worker' }
    expect(complaints([good])).toEqual([])
    for (const bad of [
      { ...good, task_id: 'a' },
      { ...good, attempt: 'one' },
      { ...good, service: undefined },
    ])
      expect(complaints([JSON.parse(JSON.stringify(bad)) as object])).toHaveLength(1)
  })
})
