// Commands that go out in one write and are answered one by one: ioredis' Pipeline without its object. Each Pipeline defines an accessor of
// its own, and V8 keeps the hidden classes of that, and with them half of what a pipeline has allocated, until a full collection; at a tick
// for each task, collections of the young generation then took most of the time that tasks waited for.
import type { Redis } from 'ioredis'

/** Sends one command; made to be called once. */
export type Send = () => Promise<unknown>

/** Each reply, or the error in its place, in the order of the commands. Never rejects. */
export function roundTrip(redis: Redis, commands: readonly Send[]): Promise<PromiseSettledResult<unknown>[]> {
  // There is none before the first connect; the commands are refused then, each by itself.
  const socket = redis.stream as Redis['stream'] | undefined
  socket?.cork()
  const replies = commands.map(sent)
  socket?.uncork()
  return Promise.allSettled(replies)
}

/** One that can't be written, being too long for a string, is refused as the broker would: the others have gone out. */
async function sent(send: Send): Promise<unknown> {
  return await send()
}
