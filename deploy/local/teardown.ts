// Takes the local cluster apart, from whatever state it is in: each step does nothing where there is nothing left to do.
// Caches stay. Nothing is ended or deleted that the cluster's own records and names don't lead to.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeCgroup } from './cgroups.ts'
import { run } from './command.ts'
import { LocalClusterError } from './errors.ts'
import { Namespace } from './namespace.ts'
import { disconnectNetwork, linkExists } from './network.ts'
import { waitUntil } from './processes.ts'
import type { ClusterSettings } from './settings.ts'

const marker = '.taskqueue-local-cluster'

/**
 * Makes the state folder and marks it as one that may be deleted.
 * @throws LocalClusterError `NOT_OURS` when there is a folder with other things in it
 */
export function claimFolder(folder: string): void {
  refuseForeign(folder)
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  writeFileSync(
    join(folder, marker),
    'This folder belongs to the local cluster of taskqueue-operator, which deletes it when it goes down.\n',
  )
}

function refuseForeign(folder: string): void {
  if (!existsSync(folder) || existsSync(join(folder, marker)) || readdirSync(folder).length === 0) return
  throw new LocalClusterError(
    'NOT_OURS',
    `${folder} has files in it that no local cluster made. Set TASKQUEUE_CLUSTER_DIR to another folder, or empty this one yourself.`,
  )
}

/**
 * Ends the cluster and removes every trace of it but the caches.
 * @throws LocalClusterError `NOT_OURS`, or `COMPONENT_FAILED` when something can't be ended
 */
export async function tearDown(settings: ClusterSettings): Promise<void> {
  refuseForeign(settings.folder)
  await new Namespace(settings.folder).close()
  await disconnectNetwork(settings)
  await removeCgroup(settings.scope)
  await removeFolder(settings.folder)
}

/** Whether there is anything to take apart. */
export async function leftovers(settings: ClusterSettings): Promise<boolean> {
  return existsSync(settings.folder) || (await linkExists(settings.link))
}

// Nothing of the cluster is mounted where this process can see it. Should that ever be wrong, a delete must not run through a mount.
async function removeFolder(folder: string): Promise<void> {
  if (!existsSync(folder)) return
  const mounted = mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), folder)
  for (const point of mounted) await run('umount', ['-l', point])
  let reason: unknown
  const gone = await waitUntil(
    () => {
      try {
        // The marker goes last, so that a removal that is cut short can be taken up again.
        for (const entry of readdirSync(folder))
          if (entry !== marker) rmSync(join(folder, entry), { recursive: true, force: true })
        rmSync(folder, { recursive: true, force: true })
        return true
      } catch (error) {
        reason = error
        return false
      }
    },
    10,
    0.2,
  )
  if (!gone) throw new LocalClusterError('COMPONENT_FAILED', `${folder} can't be removed: ${String(reason)}`)
}

/** Mount points at or below a folder, deepest first, from the text of /proc/self/mountinfo. */
export function mountsBelow(mountinfo: string, folder: string): string[] {
  return mountinfo
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8))),
    )
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)
}
