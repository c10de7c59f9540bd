// The namespaces that the local cluster lives in (processes, mounts, network), held open by one recorded process.
// Ending that process ends every process, mount and network device of the cluster at once, whatever state they are in.
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, run, type CommandOptions, type CommandResult } from './command.ts'
import { LocalClusterError } from './errors.ts'
import {
  isAlive,
  namespacedProcesses,
  parseStat,
  readRecord,
  readStat,
  recordOf,
  stopRecorded,
  waitUntil,
  writeRecord,
  type ProcessRecord,
} from './processes.ts'
import { tail } from './stage.ts'

/** A program that runs inside and outlives the command that started it. */
export interface Daemon {
  /** Base name of its log and of its record. */
  readonly name: string
  /** Program and arguments. */
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** The namespaces of the cluster whose state is in one folder. */
export class Namespace {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Where a daemon's output goes. */
  log(name: string): string {
    return join(this.#folder, 'log', `${name}.log`)
  }

  /** The recorded first process inside, as this machine sees it; undefined when it is gone. */
  get first(): ProcessRecord | undefined {
    const record = readRecord(this.#record('first'))
    return record && isAlive(record) ? record : undefined
  }

  /**
   * Makes the namespaces.
   * @param pause path of the program that becomes the first process
   * @throws LocalClusterError `COMPONENT_FAILED`
   */
  async open(pause: string): Promise<void> {
    mkdirSync(join(this.#folder, 'run'), { recursive: true })
    mkdirSync(join(this.#folder, 'log'), { recursive: true })
    rmSync(this.#path('run/namespace.ready'), { force: true })
    const log = openSync(this.log('namespace'), 'a')
    // The shell records itself before it does anything, then becomes unshare, whose only child dies with it. So there is no moment
    // at which a process of ours runs without a record that leads to it.
    const script =
      'set -eu; stat=$(cat /proc/$$/stat); start=$(echo "${stat##*) }" | cut -d" " -f20); ' +
      'echo "{\\"pid\\": $$, \\"startTime\\": \\"$start\\", \\"name\\": \\"namespaces\\"}" >"$1.new"; mv "$1.new" "$1"; shift; exec "$@"'
    const unshare = [
      'unshare',
      '--pid',
      '--fork',
      '--kill-child=KILL',
      '--mount',
      '--propagation',
      'private',
      '--mount-proc',
      '--net',
    ]
    const inside = ['sh', join(import.meta.dirname, 'namespace.sh'), this.#folder, pause]
    const child = spawn('sh', ['-c', script, 'sh', this.#record('outer'), ...unshare, ...inside], {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    child.unref()
    const outer = child.pid
    const ended = () => child.exitCode !== null || child.signalCode !== null
    const ready =
      outer !== undefined && (await waitUntil(() => ended() || existsSync(this.#path('run/namespace.ready')), 20))
    const first = ready && !ended() ? childOf(outer) : undefined
    const record = first === undefined ? undefined : recordOf(first, 'first process of the namespaces')
    if (!record) {
      throw new LocalClusterError(
        'COMPONENT_FAILED',
        'The namespaces of the cluster could not be made.',
        this.log('namespace'),
      )
    }
    writeRecord(this.#record('first'), record)
  }

  /** Ends everything inside. Does nothing when it is gone already. */
  async close(): Promise<void> {
    const outer = readRecord(this.#record('outer'))
    // The child is looked up first: when `up` died early, nothing but its parent leads to it.
    const child = outer && isAlive(outer) ? childOf(outer.pid) : undefined
    const found = [
      readRecord(this.#record('first')),
      child === undefined ? undefined : recordOf(child, 'first process'),
      outer,
    ]
    for (const record of found) if (record) await stopRecorded(record, 0)
    for (const name of ['first', 'outer']) rmSync(this.#record(name), { force: true })
  }

  /**
   * Runs a command inside.
   * @throws LocalClusterError `COMMAND_FAILED`
   */
  run(command: readonly string[], options: CommandOptions = {}): Promise<string> {
    return run('nsenter', [...this.#entrance(), ...command], options)
  }

  /** Runs a command inside whose failure is an answer too. */
  attempt(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return attempt('nsenter', [...this.#entrance(), ...command], options)
  }

  /**
   * Starts a daemon inside, unless it is running.
   * @returns its record as this machine sees it
   * @throws LocalClusterError `COMPONENT_FAILED` when it is gone at once
   */
  async launch(daemon: Daemon): Promise<ProcessRecord> {
    const running = this.daemon(daemon.name)
    if (running) return running
    const inner = this.#path(`run/${daemon.name}.inner-pid`)
    rmSync(inner, { force: true })
    rmSync(this.#record(daemon.name), { force: true })
    const script = 'echo $$ >"$1.new"; mv "$1.new" "$1"; log=$2; shift 2; exec "$@" >>"$log" 2>&1 </dev/null'
    const shell = ['sh', '-c', script, 'sh', inner, this.log(daemon.name), ...daemon.command]
    await this.run(['setsid', '--fork', ...shell], { env: { PATH: process.env.PATH, ...daemon.env } })
    let record: ProcessRecord | undefined
    await waitUntil(() => {
      record = existsSync(inner) ? this.#outside(Number(readFileSync(inner, 'utf8')), daemon.name) : undefined
      return record !== undefined
    }, 5)
    if (!record) throw new LocalClusterError('COMPONENT_FAILED', `${daemon.name} ended at once.`, this.log(daemon.name))
    writeRecord(this.#record(daemon.name), record)
    return record
  }

  /** A daemon's record, while it is alive inside these namespaces. */
  daemon(name: string): ProcessRecord | undefined {
    const record = readRecord(this.#record(name))
    return record && isAlive(record) ? record : undefined
  }

  #outside(innerPid: number, name: string): ProcessRecord | undefined {
    const namespace = this.#pidNamespace()
    const found = namespacedProcesses().find((each) => each.innerPid === innerPid && each.namespace === namespace)
    return found && recordOf(found.pid, name)
  }

  #pidNamespace(): string {
    return readlinkSync(`/proc/${this.#firstPid()}/ns/pid`)
  }

  #firstPid(): number {
    const first = this.first
    if (!first)
      throw new LocalClusterError('COMPONENT_FAILED', 'The namespaces of the cluster are gone. Run `make cluster-up`.')
    return first.pid
  }

  #entrance(): string[] {
    return ['--target', String(this.#firstPid()), '--mount', '--net', '--pid', '--']
  }

  #record(name: string): string {
    return this.#path(`run/${name}.json`)
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }
}

/** The only child of a process, from what each process says of its parent. */
function childOf(parent: number): number | undefined {
  const listed = tail(`/proc/${parent}/task/${parent}/children`, 4096).trim()
  if (/^\d+$/.test(listed)) return Number(listed)
  return namespacedProcesses().find((each) => {
    const stat = readStat(each.pid)
    return stat !== undefined && parseStat(stat)?.parent === parent
  })?.pid
}
