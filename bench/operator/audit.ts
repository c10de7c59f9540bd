// Who asked what of the API server, and when, to the microsecond, from its audit log: it costs every contestant the same and looks at
// nothing while they run. Not the log of the operator, whose word is not taken.
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'

export interface Request {
  readonly user: string
  readonly verb: string
  /** `deployments`, `taskqueues/status`. */
  readonly resource: string
  readonly name: string
  readonly code: number
  readonly dryRun: boolean
  /** Milliseconds since the epoch, with fractions. */
  readonly receivedAt: number
  readonly answeredAt: number
}

interface AuditEvent {
  readonly stage: string
  readonly verb: string
  readonly requestURI: string
  readonly user: { readonly username?: string }
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string; readonly name?: string }
  readonly responseStatus?: { readonly code?: number }
  readonly requestReceivedTimestamp: string
  readonly stageTimestamp: string
}

const reads = new Set(['get', 'list', 'watch'])

export class AuditLog {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  /** Finished requests for objects since a moment, also from files that the API server has put aside meanwhile. */
  async requests(since = 0): Promise<Request[]> {
    const folder = dirname(this.#file)
    const stem = basename(this.#file, '.log')
    const files = (await readdir(folder)).filter((name) => name.startsWith(stem) && name.endsWith('.log'))
    const found: Request[] = []
    for (const file of files) {
      for await (const line of createInterface({ input: createReadStream(join(folder, file)) })) {
        const request = parsed(line)
        if (request && request.receivedAt >= since) found.push(request)
      }
    }
    return found.sort((a, b) => a.receivedAt - b.receivedAt)
  }
}

/** Undefined for what asks for no object, for a watch that begins, and for a line that is still being written. */
function parsed(line: string): Request | undefined {
  if (!line.endsWith('}')) return undefined
  const event = JSON.parse(line) as AuditEvent
  const { resource, subresource, name = '' } = event.objectRef ?? {}
  if (event.stage !== 'ResponseComplete' || resource === undefined) return undefined
  return {
    user: event.user.username ?? '',
    verb: event.verb,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    name,
    code: event.responseStatus?.code ?? 0,
    dryRun: event.requestURI.includes('dryRun=All'),
    receivedAt: microseconds(event.requestReceivedTimestamp),
    answeredAt: microseconds(event.stageTimestamp),
  }
}

function microseconds(timestamp: string): number {
  const fraction = /\.(\d+)Z$/.exec(timestamp)?.[1] ?? '0'
  return Date.parse(`${timestamp.slice(0, 19)}Z`) + Number(`0.${fraction}`) * 1000
}

/** What changes something; asking what a write would do changes nothing. */
export function isWrite({ verb, dryRun }: Request): boolean {
  return !reads.has(verb) && !dryRun
}

/** `patch deployments 20, ...`, the most frequent first. */
export function tally(requests: readonly Request[]): string {
  const counts = new Map<string, number>()
  for (const { verb, resource, dryRun } of requests) {
    const what = `${dryRun ? 'dry-run ' : ''}${verb} ${resource}`
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  const sorted = [...counts].sort(([, a], [, b]) => b - a)
  return sorted.length === 0 ? 'none' : sorted.map(([what, count]) => `${what} ${count}`).join(', ')
}
