// A kubectl that stays: started, and waited for until it says where it listens. It ends with the process that started it, however that ends.

import { spawn, type ChildProcess } from 'node:child_process'
import { tied } from '../local/command.ts'
import type { Kubectl } from './kubectl.ts'

/** Rejects with what kubectl said when it ends before that. @returns the process, and the first group of what it was waited for */
export async function startKubectl(
  kubectl: Kubectl,
  args: readonly string[],
  says: RegExp,
): Promise<{ child: ChildProcess; found: string }> {
  const [program, ...rest] = tied('kubectl', args)
  const child = spawn(program, rest, { env: kubectl.env, stdio: ['ignore', 'pipe', 'pipe'] })
  const found = await new Promise<string>((resolve, reject) => {
    let said = ''
    const hear = (chunk: Buffer): void => {
      said += chunk.toString('utf8')
      const heard = says.exec(said)?.[1]
      if (heard !== undefined) resolve(heard)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`kubectl ${args.join(' ')} ended: ${said.trim()}`)))
  })
  return { child, found }
}
