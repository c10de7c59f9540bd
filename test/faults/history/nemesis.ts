// What goes wrong in a campaign: each fault is drawn from the seed, begins, lasts and is healed, and is written down with whom it met.

import { setTimeout as delay } from 'node:timers/promises'
import type { Draw } from './draw.ts'
import type { Ground, Site } from './ground.ts'
import { now, PROMOTION, type FaultKind } from './history.ts'

type Blow = (ground: Ground, draw: Draw) => Promise<void>

/** Seconds that a worker's clock is set by at most, either way. */
const CLOCK_SECONDS = 45

/** Notes a fault that lasts from here until what is done in it has ended. */
async function during(
  ground: Ground,
  kind: FaultKind,
  pids: readonly number[] | undefined,
  act: () => Promise<void>,
): Promise<void> {
  const from = now()
  try {
    await act()
  } finally {
    ground.note({ kind, from, to: now(), ...(pids ? { pids } : {}) })
  }
}

function aWorker(ground: Ground, draw: Draw, may: (site: Site) => boolean = () => true): Site {
  return draw.one(ground.workers.filter(may))
}

async function stopped(ground: Ground, kind: FaultKind, site: Site, millis: number): Promise<void> {
  await during(ground, kind, [site.pid], async () => {
    site.child.kill('SIGSTOP')
    await delay(millis)
    site.child.kill('SIGCONT')
  })
}

async function replaced(ground: Ground, kind: FaultKind, site: Site, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  await during(ground, kind, [site.pid], async () => {
    site.child.kill(signal)
    ground.forget(site)
    await ground.addWorker(site.engine)
    await ground.gone(site, 60)
    await site.network.close()
  })
}

const blows: Readonly<Record<FaultKind, Blow>> = {
  'kill worker': (ground, draw) => replaced(ground, 'kill worker', aWorker(ground, draw), 'SIGKILL'),
  'stop worker': (ground, draw) => stopped(ground, 'stop worker', aWorker(ground, draw), draw.between(200, 3000)),
  // Longer than a lease: it comes back while another has its work.
  'stop worker for long': (ground, draw) =>
    stopped(ground, 'stop worker for long', aWorker(ground, draw), draw.between(11_000, 16_000)),
  'scale down': (ground, draw) => replaced(ground, 'scale down', aWorker(ground, draw), 'SIGTERM'),
  'rolling update': async (ground) => {
    for (const site of [...ground.workers]) await replaced(ground, 'rolling update', site, 'SIGTERM')
  },
  'kill beat': async (ground) => {
    const { beat } = ground
    if (!beat) return
    await during(ground, 'kill beat', [beat.pid], async () => {
      beat.child.kill('SIGKILL')
      await ground.gone(beat)
      await beat.network.close()
      await ground.addBeat()
    })
  },
  'stop beat': async (ground, draw) => {
    if (ground.beat) await stopped(ground, 'stop beat', ground.beat, draw.between(500, 12_000))
  },
  'cut clients': (ground) =>
    during(ground, 'cut clients', undefined, async () => {
      await ground.redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    }),
  'silent network': async (ground, draw) => {
    const site = aWorker(ground, draw)
    await during(ground, 'silent network', [site.pid], async () => {
      site.network.silence()
      await delay(draw.between(500, 14_000))
      site.network.heal()
    })
  },
  'slow network': async (ground, draw) => {
    const site = aWorker(ground, draw)
    await during(ground, 'slow network', [site.pid], async () => {
      site.network.slow(draw.between(20, 400))
      await delay(draw.between(1000, 5000))
      site.network.heal()
    })
  },
  'restart broker': (ground, draw) =>
    during(ground, 'restart broker', undefined, async () => {
      await ground.redis.down()
      await delay(draw.between(100, 3000))
      await ground.redis.up()
    }),
  'stop broker': (ground, draw) =>
    during(ground, 'stop broker', undefined, async () => {
      await ground.redis.paused(draw.between(200, 4000))
    }),
  'full broker': (ground, draw) =>
    during(ground, 'full broker', undefined, async () => {
      await ground.redis.client.config('SET', 'maxmemory', '1')
      await delay(draw.between(500, 3000))
      await ground.redis.client.config('SET', 'maxmemory', '0')
    }),
  [PROMOTION]: async (ground, draw) => {
    const promotion = await ground.replica?.promote(draw.between(50, 1500))
    if (promotion) ground.note({ kind: PROMOTION, ...promotion })
  },
  'clock step': async (ground, draw) => {
    const may = ({ engine }: Site): boolean => engine?.clockMayBeSet === true
    if (!ground.workers.some(may)) return
    const site = aWorker(ground, draw, may)
    await during(ground, 'clock step', [site.pid], async () => {
      site.clock.set(draw.between(-CLOCK_SECONDS, CLOCK_SECONDS))
      await delay(draw.between(1000, 6000))
      // It stays as it is half of the time.
      if (draw.next() < 0.5) site.clock.set(0)
    })
  },
}

/** Faults of a campaign: each kind as often as any other, in an order of their own. */
export function drawn(draw: Draw, count: number, kinds: readonly FaultKind[]): FaultKind[] {
  const list = Array.from({ length: count }, (_, i) => kinds[i % kinds.length] as FaultKind)
  return list
    .map((kind) => ({ kind, order: draw.next() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ kind }) => kind)
}

export async function strike(ground: Ground, draw: Draw, kind: FaultKind): Promise<void> {
  await blows[kind](ground, draw)
}
