// Tracing that costs no task anything: where a tracer throws, there is no span, and what the message carries goes on as it is. Not a tracer.
import { currentTask } from './current-task.ts'
import { traceHeaders } from './trace-headers.ts'
import type { RunSpan, SendSpan, Tracing } from './tracing.ts'

export function forgiving(tracing: Tracing): Tracing {
  return {
    send: (message) => {
      const span = attempted(() => tracing.send(message))
      return span ? sendSpan(span) : { headers: currentTask()?.trace ?? {}, end: () => undefined }
    },
    run: (message) => {
      const span = attempted(() => tracing.run(message))
      return span
        ? runSpan(span)
        : { headers: traceHeaders(message.headers), within: (run) => run(), end: () => undefined }
    },
    resume: (headers, run) => tracing.resume(headers, run),
  }
}

function sendSpan(span: SendSpan): SendSpan {
  return { headers: span.headers, end: (error) => attempted(() => span.end(error)) }
}

function runSpan(span: RunSpan): RunSpan {
  // What the task itself throws within it is the task's.
  return { headers: span.headers, within: (run) => span.within(run), end: () => attempted(() => span.end()) }
}

function attempted<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}
