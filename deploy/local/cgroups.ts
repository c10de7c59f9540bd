// The cgroup below which every pod of the local cluster runs: made before the kubelet starts, removed when all is over.
// Pods are limited by the kubelet; nothing is limited here.
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { LocalClusterError } from './errors.ts'
import { waitUntil } from './processes.ts'

const root = '/sys/fs/cgroup'

/** The roots of the machine's cgroup hierarchies: one with cgroup v2, one a controller with v1. */
function hierarchies(): string[] {
  if (existsSync(join(root, 'cgroup.controllers'))) return [root]
  const found = readdirSync(root)
    .map((name) => realpathSync(join(root, name)))
    .filter((folder) => statSync(folder).isDirectory() && existsSync(join(folder, 'cgroup.procs')))
  return [...new Set(found)]
}

/** Makes the cgroup `scope` in every hierarchy, with the controllers that pods need. */
export function makeCgroup(scope: string): void {
  for (const hierarchy of hierarchies()) {
    const folder = join(hierarchy, scope)
    mkdirSync(folder, { recursive: true })
    // A cpuset of v1 begins empty, and nothing can run in an empty one.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (hierarchy !== root && existsSync(join(folder, file))) {
        writeFileSync(join(folder, file), readFileSync(join(hierarchy, file)))
      }
    }
    if (hierarchy === root) for (const each of [root, folder]) delegateControllers(each)
  }
}

function delegateControllers(folder: string): void {
  const available = readFileSync(join(folder, 'cgroup.controllers'), 'utf8').trim().split(' ')
  const wanted = ['cpu', 'cpuset', 'memory', 'pids', 'io', 'hugetlb'].filter((name) => available.includes(name))
  writeFileSync(join(folder, 'cgroup.subtree_control'), wanted.map((name) => `+${name}`).join(' '))
}

/**
 * Removes the cgroup `scope` and all below it. Its processes must have been ended before; the kernel may take a moment to notice.
 * @throws LocalClusterError `COMPONENT_FAILED` when one stays in use for 15 s
 */
export async function removeCgroup(scope: string): Promise<void> {
  const folders = hierarchies().map((hierarchy) => join(hierarchy, scope))
  const gone = await waitUntil(() => {
    for (const folder of folders) if (existsSync(folder)) removeTree(folder)
    return folders.every((folder) => !existsSync(folder))
  }, 15)
  if (gone) return
  const left = folders.filter((folder) => existsSync(folder)).join(', ')
  throw new LocalClusterError(
    'COMPONENT_FAILED',
    `The cgroups ${left} are still in use; the cgroup.procs files below them name the processes.`,
  )
}

function removeTree(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeTree(join(folder, entry.name))
    }
    rmdirSync(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EBUSY' && code !== 'ENOENT' && code !== 'ENOTEMPTY') throw error
  }
}
