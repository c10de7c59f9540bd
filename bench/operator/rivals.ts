// The two operators that ours is measured beside, in controller-runtime (Go) and kopf (Python): built and installed into the cache, never
// into the checkout. They make the same objects from a template and do nothing else.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../deploy/local/command.ts'
import { cacheFolder } from '../../deploy/local/settings.ts'
import { setTimeout as delay } from 'node:timers/promises'
import type { Options } from './options.ts'
import type { Plane } from './plane.ts'
import { Program } from './program.ts'
import { digest } from './queues.ts'
import { say } from './figures.ts'

const here = import.meta.dirname
const goModule = join(here, 'controller-runtime')
const kopfScript = join(here, 'kopf_operator.py')
const kopfRequirements = join(here, 'kopf_requirements.txt')

export interface Rival {
  readonly user: string
  readonly about: string
  /** Starts it; resolves when it is ready for TaskQueues. `template` is the path of one TaskQueue's children. */
  start(plane: Plane, template: string, options: Options): Promise<Program>
}

export const controllerRuntime: Rival = {
  user: 'controller-runtime',
  about: 'Go controller-runtime: informers on all kinds, applies what is missing, one status patch, no Events',
  start: async (plane, template, { concurrency }) => {
    const flags = [`--template=${template}`, `--concurrency=${concurrency}`]
    const program = new Program(join(plane.folder, 'controller-runtime.log'), [await goBinary(), ...flags], {
      KUBECONFIG: await plane.kubeconfigOf('controller-runtime'),
    })
    await program.says(/Starting workers/)
    return program
  },
}

export const kopf: Rival = {
  user: 'kopf',
  about: 'kopf: one handler on creation with the official client, its own Events and annotations',
  start: async (plane, template, { concurrency }) => {
    const venv = await kopfVenv()
    const command = ['run', '--standalone', '--all-namespaces', kopfScript]
    const program = new Program(join(plane.folder, 'kopf.log'), [join(venv, 'bin/kopf'), ...command], {
      KUBECONFIG: await plane.kubeconfigOf('kopf'),
      BENCH_TEMPLATE: template,
      BENCH_CONCURRENCY: String(concurrency),
      PYTHONDONTWRITEBYTECODE: '1',
    })
    await program.says(/Initial authentication has finished/)
    // It does not say when its watch is open.
    await delay(3_000)
    return program
  },
}

async function goBinary(): Promise<string> {
  const sources = ['main.go', 'go.mod', 'go.sum'].map((file) => readFileSync(join(goModule, file), 'utf8'))
  const folder = join(cacheFolder(), 'bench')
  const binary = join(folder, `controller-runtime-${digest(...sources)}`)
  if (existsSync(binary)) return binary
  say('building the Go operator (minutes, once)')
  mkdirSync(folder, { recursive: true })
  const log = join(folder, 'controller-runtime.log')
  const env = { ...process.env, CGO_ENABLED: '0' }
  await run('go', ['build', '-trimpath', '-o', `${binary}.new`, '.'], { cwd: goModule, env, log })
  renameSync(`${binary}.new`, binary)
  return binary
}

async function kopfVenv(): Promise<string> {
  const folder = join(cacheFolder(), 'bench', `kopf-${digest(readFileSync(kopfRequirements, 'utf8'))}`)
  const done = join(folder, 'bin', 'kopf')
  if (existsSync(done)) return folder
  say('installing kopf (once)')
  // A virtual environment knows its own path, so it can't be made elsewhere and moved.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const log = join(folder, 'install.log')
  await run('python3', ['-m', 'venv', folder], { log })
  await run(join(folder, 'bin', 'pip'), ['install', '--quiet', '-r', kopfRequirements], { log })
  return folder
}
