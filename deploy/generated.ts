// Files that follow from others: written where they differ, or, with `--check`, named where they are stale. What is in them is their
// generators' (crds/, charts/, deploy/monitoring/).

import { readFileSync, writeFileSync } from 'node:fs'

export interface Generated {
  readonly path: string
  readonly text: string
}

/** By the command line of the generator that calls it: a stale file makes `--check` exit with 1. */
export function writeOrCheck(files: readonly Generated[]): void {
  const stale = files.filter(({ path, text }) => textOf(path) !== text)
  if (process.argv.includes('--check')) {
    for (const { path } of stale) console.error(`${path} is stale: run "make generate" and commit the result.`)
    process.exitCode = stale.length > 0 ? 1 : 0
  } else for (const { path, text } of stale) writeFileSync(path, text)
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
