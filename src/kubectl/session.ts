// One call of the plugin: where it looks, how it prints, and the exit code that it will end with.

import type { Command } from 'commander'
import { PluginError } from './errors.ts'
import { Kubectl, type Place } from './kubectl.ts'
import type { TaskQueue } from './shapes.ts'

interface Flags extends Place {
  readonly output?: string
  readonly color?: boolean
}

export class Session {
  readonly #program: Command
  code = 0

  constructor(program: Command) {
    this.#program = program
  }

  get #flags(): Flags {
    return this.#program.opts<Flags>()
  }

  get kubectl(): Kubectl {
    return new Kubectl(this.#flags)
  }

  /** @throws PluginError `WrongUse` for a format that there is none of */
  get json(): boolean {
    const { output } = this.#flags
    if (output !== undefined && output !== 'json')
      throw new PluginError('WrongUse', `-o ${output} is not known; json is`)
    return output === 'json'
  }

  /** For what prints JSON by itself. */
  get jsonFlag(): readonly string[] {
    return this.json ? ['--json'] : []
  }

  get colours(): boolean {
    return this.#flags.color !== false && process.stdout.isTTY && process.env['NO_COLOR'] === undefined
  }

  read(name: string): Promise<TaskQueue> {
    return this.kubectl.json<TaskQueue>('get', 'taskqueue', name)
  }

  /** One line of JSON, or a text for people. */
  print(value: unknown, text: string): void {
    process.stdout.write(`${this.json ? JSON.stringify(value) : text}\n`)
  }
}
