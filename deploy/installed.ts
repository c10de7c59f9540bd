// Which installed packages a package needs, itself included, by the lock file: where a part of node_modules is to be copied. Installs nothing.

import { LocalClusterError } from './local/errors.ts'

/** Of package-lock.json, version 3. */
export interface LockFile {
  readonly packages: Readonly<Record<string, { readonly dependencies?: Readonly<Record<string, string>> }>>
}

/**
 * Folders of the packages, such as `node_modules/fastify`, as Node finds them: the nearest one above who asks.
 * @throws LocalClusterError `TOOL_MISSING` for a package that the lock file lacks
 */
export function installedFor(name: string, { packages }: LockFile): string[] {
  const found = new Set<string>()
  const visit = (from: string, wanted: string): void => {
    const folder = nearest(from, wanted, packages)
    if (folder === undefined)
      throw new LocalClusterError(
        'TOOL_MISSING',
        `package-lock.json has no ${wanted}, which ${from || 'the project'} needs`,
      )
    if (found.has(folder)) return
    found.add(folder)
    for (const dependency of Object.keys(packages[folder]?.dependencies ?? {})) visit(folder, dependency)
  }
  visit('', name)
  return [...found].sort()
}

function nearest(from: string, name: string, packages: LockFile['packages']): string | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    const folder = at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`
    if (folder in packages) return folder
    if (at === '') return undefined
  }
}
