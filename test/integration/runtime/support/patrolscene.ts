// `taskqueue patrol` on a real broker of its own, for the files that bring findings about.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import type { Finding } from '../../../../src/runtime/patrol/finding.ts'
import { endAll, run, type Output } from '../../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../../fixtures/redis-server.ts'
import { until } from '../../../fixtures/until.ts'

export interface Told {
  readonly code: number | null
  readonly findings: readonly Finding[]
  /** `<code> <subject>` of each. */
  readonly names: readonly string[]
}

/** A broker and a folder for each test of a file, and the command line against them. */
export class PatrolScene {
  #redis: RedisServer | undefined
  #folder = ''

  constructor() {
    beforeEach(async () => {
      this.#redis = await startRedis()
      this.#folder = await mkdtemp(join(tmpdir(), 'taskqueue-patrol-'))
    })
    afterEach(async () => {
      await endAll()
      await this.redis.close()
      await rm(this.#folder, { recursive: true, force: true })
    })
  }

  get redis(): RedisServer {
    if (!this.#redis) throw new Error('no test is running')
    return this.#redis
  }

  get folder(): string {
    return this.#folder
  }

  cli(...args: string[]): Promise<Output> {
    return run(args, { TASKQUEUE_BROKER_URL: this.redis.url })
  }

  send(...args: string[]): Promise<Output> {
    return this.cli('send', ...args)
  }

  async patrol(...args: string[]): Promise<Told> {
    const output = await this.cli('patrol', '--json', '--watch-seconds', '2', '--stalled-seconds', '1', ...args)
    // The client library has a remark of its own where INFO is forbidden.
    if (!output.stderr.startsWith('Skipping the ready check')) expect(output.stderr).toBe('')
    expect(output.stdout.trimEnd()).not.toContain('\n')
    const { needsPerson, findings } = JSON.parse(output.stdout) as { needsPerson: boolean; findings: Finding[] }
    expect(output.code).toBe(needsPerson ? 1 : 0)
    return { code: output.code, findings, names: findings.map(({ code, subject }) => `${code} ${subject}`) }
  }

  /** Patrols until nothing is found. */
  cured(...args: string[]): Promise<true> {
    return until('nothing is found any more', async () => (await this.patrol(...args)).names.length === 0 || undefined)
  }
}
