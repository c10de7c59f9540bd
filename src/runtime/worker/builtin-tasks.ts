// Tasks that Celery's canvas counts on in every worker: `task.map()`, `task.starmap()`, chunks, and the collecting of values.
import { isJsonObject } from '../protocol/envelope.ts'
import { PermanentError, type RegisteredTask, type TaskContext, type TaskTable } from '../task.ts'

/** The tasks of an app, and the built-in ones, which are found by name only. An app's own of the same name wins. */
export function withBuiltins(tasks: TaskTable): TaskTable {
  const builtin = (name: string, handler: RegisteredTask['handler']): [string, RegisteredTask] => [
    name,
    { name, options: {}, handler },
  ]
  const map =
    (call: (task: RegisteredTask, ctx: TaskContext, item: unknown) => unknown) => async (ctx: TaskContext) => {
      const { task, it } = ctx.kwargs
      const name = isJsonObject(task) ? task['task'] : undefined
      const registered = typeof name === 'string' ? tasks.get(name) : undefined
      if (!registered) throw new PermanentError(`no task named ${String(name)} is registered in this worker`)
      if (!Array.isArray(it)) throw new PermanentError('there is no list of items to call the task with')
      const values: unknown[] = []
      // One after the other, as Celery does it: who wants more at once sends a group.
      for (const item of it as unknown[]) values.push(await call(registered, ctx, item))
      return values
    }
  const builtins = new Map([
    builtin(
      'celery.map',
      map((task, ctx, item) => task.handler(ctx, item)),
    ),
    builtin(
      'celery.starmap',
      map((task, ctx, item) => task.handler(ctx, ...(Array.isArray(item) ? (item as unknown[]) : [item]))),
    ),
    builtin('celery.accumulate', (ctx, ...args) => {
      const { index } = ctx.kwargs
      return typeof index === 'number' ? args[index] : args
    }),
  ])
  return {
    get: (name) => tasks.get(name) ?? builtins.get(name),
    has: (name) => tasks.has(name) || builtins.has(name),
    values: () => tasks.values(),
  }
}
