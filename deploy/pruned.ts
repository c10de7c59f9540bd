// Takes out of a folder of packages what no program loads: types, sources and their maps, texts, tests and examples. Licences stay, and so
// does every package.json: what is listed in an SBOM is there.

import { readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

const unused = /\.(map|d\.[cm]?ts|[cm]?ts|tsx|md|markdown|flow|tsbuildinfo)$/i
const kept = /^(licen[cs]e|notice|copying|copyright|patents)/i
const folders = new Set([
  'test',
  'tests',
  '__tests__',
  'test-jest',
  'example',
  'examples',
  'docs',
  'benchmark',
  'benchmarks',
  'coverage',
])

/** Whether a program has need of a file, by its name. */
export function isLoaded(file: string): boolean {
  return kept.test(basename(file)) || !unused.test(file)
}

/** The folder of a package, as npm lays it out: below node_modules, with or without a scope. */
function isPackage(folder: string): boolean {
  const above = dirname(folder)
  return basename(above).startsWith('@')
    ? basename(dirname(above)) === 'node_modules'
    : basename(above) === 'node_modules'
}

function isUnusedFolder(parent: string, name: string): boolean {
  if (!isPackage(parent)) return false
  // Binaries for Bare, another runtime: Node never loads them.
  return folders.has(name) || (name === 'prebuilds' && basename(parent).startsWith('bare-'))
}

/** @param folder a node_modules, or the folder of one package */
export function prune(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      if (isUnusedFolder(folder, entry.name)) rmSync(path, { recursive: true })
      else prune(path)
    } else if (entry.isFile() && !isLoaded(entry.name)) rmSync(path)
  }
}
