// Asks Redis how safe what it keeps is, and what nobody settles. Reads only.
import type { Redis } from 'ioredis'
import { asError } from '../../errors.ts'
import { PRIORITY_STEPS } from '../../protocol/queue-key.ts'
import type { Answer, BrokerSafety, UnackedState, WaitingMessages } from '../safety.ts'
import type { Keys } from './keys.ts'
import { runScript } from './scripts.ts'

/** Up to so many records are looked at one by one. */
const MOST_LOOKED_AT = 2000
/** Bytes of messages that are searched at once: Redis does nothing else meanwhile. */
const MOST_BYTES_SEARCHED = 4 * 1024 * 1024

/** Never rejects for what the server refuses: a managed one, or an ACL, may forbid INFO and CONFIG. */
export async function readSafety(redis: Redis): Promise<BrokerSafety> {
  const [persistence, memory, save] = [
    await answer('INFO persistence', redis.info('persistence')),
    await answer('INFO memory', redis.info('memory')),
    await answer('CONFIG GET save', redis.config('GET', 'save')),
  ]
  return { persistent: persistent(persistence, save), evictionPolicy: field(memory, 'maxmemory_policy') }
}

function persistent(info: Answer<unknown>, save: Answer<unknown>): Answer<boolean> {
  const aof = field(info, 'aof_enabled')
  if (aof.known && aof.value === '1') return { known: true, value: true }
  if (!save.known) return save
  const points = Array.isArray(save.value) ? (save.value as unknown[])[1] : undefined
  if (typeof points !== 'string') return { known: false, why: 'CONFIG GET save told nothing' }
  if (points !== '') return { known: true, value: true }
  return aof.known ? { known: true, value: false } : aof
}

/** A field of INFO's reply. */
function field(info: Answer<unknown>, name: string): Answer<string> {
  if (!info.known) return info
  const value = new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(String(info.value))?.[1]
  return value === undefined ? { known: false, why: `INFO does not tell ${name}` } : { known: true, value }
}

async function answer(what: string, reply: Promise<unknown>): Promise<Answer<unknown>> {
  try {
    return { known: true, value: await reply }
  } catch (error) {
    // Redis repeats the user's name and the command here, never a password.
    if (/^(NOPERM|ERR unknown command)/i.test(asError(error).message))
      return { known: false, why: `the broker refuses ${what}` }
    throw error
  }
}

/** @throws whatever Redis answers */
export async function readUnacked(redis: Redis, keys: Keys): Promise<UnackedState> {
  const reply = await runScript(redis, {
    name: 'unacked',
    keys: [keys.unacked, keys.unackedIndex],
    args: [MOST_LOOKED_AT],
  })
  const [withoutIndex = 0, age = -1] = Array.isArray(reply) ? reply.map(Number) : []
  return { withoutIndex, oldestSeconds: age < 0 ? null : age }
}

/** @throws whatever Redis answers */
export async function waitingAmong(
  redis: Redis,
  keys: Keys,
  queue: string,
  ids: readonly string[],
  most: number,
): Promise<WaitingMessages> {
  const lists = PRIORITY_STEPS.map((step) => keys.list(queue, step))
  const reply = await runScript(redis, { name: 'waiting', keys: lists, args: [most, MOST_BYTES_SEARCHED, ...ids] })
  const [cut, ...found] = Array.isArray(reply) ? (reply as unknown[]) : []
  return { found: new Set(found.map(String)), complete: cut === 0 }
}
