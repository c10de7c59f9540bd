// Measures Redis' clock against this machine's. What is made of it is broker-clock.ts's.
import type { Redis } from 'ioredis'
import type { BrokerTime } from '../store.ts'

/** Three tries, and the quickest counts: the error is at most half of its round trip. */
export async function measureTime(redis: Redis): Promise<BrokerTime> {
  let best: BrokerTime | undefined
  for (let i = 0; i < 3; i++) {
    const sent = performance.now()
    const sentAt = Date.now()
    const [seconds, micros] = await redis.time()
    const errorMs = (performance.now() - sent) / 2
    const brokerMs = Number(seconds) * 1000 + Number(micros) / 1000
    if (!best || errorMs < best.errorMs)
      best = { brokerMs: brokerMs + errorMs, offsetMs: sentAt + errorMs - brokerMs, errorMs }
  }
  return best as BrokerTime
}
