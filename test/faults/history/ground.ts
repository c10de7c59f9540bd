// Where a campaign takes place: one redis-server that keeps what it acknowledges, and the worker and beat processes, each behind a network
// and a clock of its own. What is done to it is decided in nemesis.ts.

import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClockShift } from '../../fixtures/clock-shift.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { startTroubledNetwork, type TroubledNetwork } from '../../fixtures/troubled-network.ts'
import { until } from '../../fixtures/until.ts'
import { append, now, type Fault } from './history.ts'
import { Replica } from './replica.ts'
import type { Engine, Subject, Surroundings } from './subject.ts'

/** A process, and what can be done to it. */
export interface Site {
  readonly engine: Engine | undefined
  readonly child: ChildProcess
  readonly pid: number
  readonly network: TroubledNetwork
  readonly clock: ClockShift
}

export class Ground {
  readonly redis: RedisServer
  readonly folder: string
  readonly ledger: string
  readonly subject: Subject
  readonly workers: Site[] = []
  beat: Site | undefined
  /** Where the campaign promotes it. */
  readonly replica: Replica | undefined
  /** The last words of processes, for a failure that nobody can explain. */
  readonly said: string[] = []
  #sites = 0
  #engines = 0

  private constructor(redis: RedisServer, folder: string, subject: Subject, replica: Replica | undefined) {
    this.redis = redis
    this.replica = replica
    this.folder = folder
    this.ledger = join(folder, 'ledger')
    this.subject = subject
  }

  static async open(subject: Subject, { replicated = false } = {}): Promise<Ground> {
    // What it has acknowledged is on the disk: what is lost after a kill of it was lost by somebody else.
    const settings = ['--appendfsync', 'always', '--maxmemory-policy', 'noeviction']
    const redis = await startRedis(...settings)
    const replica = replicated ? await Replica.of(redis, settings) : undefined
    return new Ground(redis, mkdtempSync(join(tmpdir(), 'taskqueue-history-')), subject, replica)
  }

  async addWorker(engine = this.#nextEngine()): Promise<Site> {
    const site = await this.#site(engine, (surroundings) => engine.start(surroundings))
    this.workers.push(site)
    return site
  }

  async addBeat(): Promise<void> {
    const { beat } = this.subject
    if (beat) this.beat = await this.#site(undefined, (surroundings) => beat(surroundings, this.folder))
  }

  /** A worker that is gone, or is to go. */
  forget(site: Site): void {
    const at = this.workers.indexOf(site)
    if (at >= 0) this.workers.splice(at, 1)
  }

  note(fault: Omit<Fault, 'what'>): void {
    append(this.ledger, { what: 'fault', ...fault })
  }

  async gone({ child }: Site, seconds = 30): Promise<void> {
    await until('a process is gone', () => child.exitCode !== null || child.signalCode !== null, seconds)
  }

  async close(): Promise<void> {
    const sites = [...this.workers, ...(this.beat ? [this.beat] : [])]
    for (const { child } of sites) {
      child.kill('SIGKILL')
      child.kill('SIGCONT')
    }
    await Promise.all(sites.map((site) => this.gone(site)))
    await Promise.all(sites.map(({ network }) => network.close()))
    await this.replica?.close()
    await this.redis.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  #nextEngine(): Engine {
    const { engines } = this.subject
    const engine = engines[this.#engines++ % engines.length]
    if (!engine) throw new Error('a subject without an engine')
    return engine
  }

  async #site(engine: Engine | undefined, start: (surroundings: Surroundings) => ChildProcess): Promise<Site> {
    const network = await startTroubledNetwork(this.redis.port)
    const clock = await ClockShift.in(join(this.folder, `clock-${this.#sites++}`))
    const child = start({ brokerPort: network.port, ledger: this.ledger, env: clock.env })
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.said.push(`${Math.round(now())} ${child.pid ?? 0}: ${chunk.toString('utf8').trimEnd()}`)
        if (this.said.length > 500) this.said.shift()
      })
    const pid = child.pid ?? 0
    append(this.ledger, { what: 'started', pid, engine: engine?.name ?? 'beat', at: now() })
    return { engine, child, pid, network, clock }
  }
}
