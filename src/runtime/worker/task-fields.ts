// The fields of a log line that is about a task. Pure.
import type { TaskMessage } from '../protocol/task-message.ts'

/** Characters of arguments in a line, at most. */
const MOST_ARGUMENTS = 1000

/** @param logArguments also what the task was called with (TASKQUEUE_LOG_ARGUMENTS), cut short; left out by default: it may be anybody's data */
export function taskFields(
  message: TaskMessage,
  queue: string,
  logArguments = false,
): Readonly<Record<string, string | number>> {
  const { id, task, rootId, retries, args, kwargs } = message
  const fields = { task, taskId: id, rootId: rootId ?? id, queue, attempt: retries + 1 }
  if (!logArguments) return fields
  return { ...fields, args: short(args), kwargs: short(kwargs) }
}

function short(value: unknown): string {
  const json = JSON.stringify(value)
  return json.length > MOST_ARGUMENTS ? `${json.slice(0, MOST_ARGUMENTS)}...` : json
}
