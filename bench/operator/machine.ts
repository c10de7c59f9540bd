// Where the machine's time went while something was measured: to the processes of the bench, by name, and to everybody else, who make a
// measurement on shared cores slower than it is. Seconds of CPU say more there than seconds of the clock.
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { ticks } from '../proc.ts'

export class MachineTime {
  readonly #at = performance.now()
  readonly #busy = busySeconds()
  readonly #own = ownSeconds()

  /** Seconds of CPU that the processes of the bench have used since this was made: what the clock would say on cores of one's own. */
  ownSeconds(): number {
    return [...this.#spent().values()].reduce((sum, value) => sum + value, 0)
  }

  /** `kube-apiserver 8.1 s, node 3.0 s, ... of CPU; others 40 % of 2 cores` since this was made. */
  toString(): string {
    const spent = this.#spent()
    const own = this.ownSeconds()
    const cores = availableParallelism()
    const all = ((performance.now() - this.#at) / 1000) * cores
    const others = Math.max(0, busySeconds() - this.#busy - own) / all
    const each = [...spent].filter(([, value]) => value >= 0.05).sort(([, a], [, b]) => b - a)
    const list = each.map(([name, value]) => `${name} ${value.toFixed(1)} s`).join(', ')
    return `CPU: ${list}; in all ${own.toFixed(1)} s; others on the machine: ${(others * 100).toFixed(0)} % of ${cores} cores`
  }

  #spent(): Map<string, number> {
    return new Map([...ownSeconds()].map(([name, value]) => [name, value - (this.#own.get(name) ?? 0)]))
  }
}

/** All but idling and waiting for disks; stolen time too. */
function busySeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] =
    readFileSync('/proc/stat', 'utf8').split('\n')[0]?.trim().split(/\s+/).slice(1).map(Number) ?? []
  return (user + nice + system + irq + softirq + steal) / ticks()
}

/** This process (`bench`) and its children that run. */
function ownSeconds(): Map<string, number> {
  const found = new Map<string, number>()
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    let stat: string
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    } catch {
      // It has ended meanwhile.
      continue
    }
    const [, comm = ''] = /\((.*)\)/.exec(stat) ?? []
    const fields = stat.slice(stat.lastIndexOf(') ') + 2).split(' ')
    const own = Number(pid) === process.pid
    if (!own && Number(fields[1]) !== process.pid) continue
    const name = own ? 'bench' : comm
    found.set(name, (found.get(name) ?? 0) + (Number(fields[11]) + Number(fields[12])) / ticks())
  }
  return found
}
