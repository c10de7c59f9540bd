// Loads the Lua scripts that lie beside this file and runs them by their hash. What a script does is said in its header.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { roundTrip } from './round-trip.ts'

/** The scripts, one file each under lua/. */
export const SCRIPT_NAMES = [
  'take',
  'settle',
  'recover',
  'join',
  'promote',
  'renew',
  'publish-unique',
  'store-result',
  'chord-part',
  'acquire-lease',
  'release-lease',
  'advance-cursor',
  'revive-dead-letter',
  'trim-dead-letters',
  'add-job',
  'claim-run',
  'remove-cursors',
  'renew-runs',
  'take-lost-runs',
  'depth',
  'unacked',
  'take-replies',
  'waiting',
  'write-presence',
] as const

/** What a consumer's ticks are made of. */
export const TICK_SCRIPTS = ['take', 'settle', 'recover', 'promote', 'trim-dead-letters'] as const

export type ScriptName = (typeof SCRIPT_NAMES)[number]

interface Script {
  readonly source: string
  readonly sha: string
}

const loaded = new Map<ScriptName, Script>()

function script(name: ScriptName): Script {
  let found = loaded.get(name)
  if (!found) {
    const source = readLua(`${name}.lua`).replace(/^--include (\S+)$/gm, (_, part: string) =>
      readLua(`include/${part}.lua`),
    )
    found = { source, sha: createHash('sha1').update(source).digest('hex') }
    loaded.set(name, found)
  }
  return found
}

function readLua(file: string): string {
  return readFileSync(new URL(`lua/${file}`, import.meta.url), 'utf8')
}

/** What a script is called with. */
export interface ScriptCall {
  readonly name: ScriptName
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
}

/** Brings scripts to a server; cheap when it has them. Call it after each connect: a new server knows none. */
export async function loadScripts(redis: Redis, names: readonly ScriptName[]): Promise<void> {
  const loads = names.map((name) => () => redis.script('LOAD', script(name).source))
  for (const loaded of await roundTrip(redis, loads)) if (loaded.status === 'rejected') throw loaded.reason
}

/** Runs a script that must be loaded. @throws what `isNoScript` knows when it is not */
export function runLoaded(redis: Redis, { name, keys, args }: ScriptCall): Promise<unknown> {
  return redis.evalsha(script(name).sha, keys.length, ...keys, ...args)
}

/** True for the error of a server that lost its scripts (a restart, SCRIPT FLUSH, a failover). Nothing was executed then. */
export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

/** Runs one script, bringing it along when the server doesn't have it. */
export async function runScript(redis: Redis, call: ScriptCall): Promise<unknown> {
  try {
    return await runLoaded(redis, call)
  } catch (error) {
    if (!isNoScript(error)) throw error
    return await redis.eval(script(call.name).source, call.keys.length, ...call.keys, ...call.args)
  }
}
