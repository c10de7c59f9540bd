// The libraries of others, installed by npm into the cache when they are first asked for. Of their types only what is used here.

import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { run } from '../../deploy/local/command.ts'
import { withLock } from '../../deploy/local/lockfile.ts'
import { cacheFolder } from '../../deploy/local/settings.ts'

const FILES = ['package.json', 'package-lock.json', '.npmrc']
const SOURCE = join(import.meta.dirname, '../peers')

/** Where they are; installs them when they are not there. */
export async function installPeers(): Promise<string> {
  const hash = createHash('sha256')
  for (const file of FILES) hash.update(readFileSync(join(SOURCE, file)))
  const folder = join(cacheFolder(), `peers-${hash.digest('hex').slice(0, 12)}`)
  const done = join(folder, '.complete')
  if (existsSync(done)) return folder
  mkdirSync(folder, { recursive: true })
  await withLock(`${folder}.lock`, { purpose: 'installing the peers of the benchmark', waitSeconds: 300 }, async () => {
    if (existsSync(done)) return
    for (const file of FILES) copyFileSync(join(SOURCE, file), join(folder, file))
    await run('npm', ['ci', '--no-fund', '--no-audit', '--ignore-scripts'], { cwd: folder, timeoutSeconds: 300 })
    writeFileSync(done, '')
  })
  return folder
}

/** @param folder of installPeers() */
export function peer(folder: string, name: string): unknown {
  return createRequire(join(folder, 'package.json'))(name)
}

export function peerVersion(folder: string, name: string): string {
  const { version } = JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')) as {
    version: string
  }
  return version
}
