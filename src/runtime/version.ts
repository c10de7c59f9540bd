// The version of this package, as its package.json has it; one place, read once.
import { readFileSync } from 'node:fs'

/** From dist/ the package.json is one folder up, from the sources it lies beside. */
function readVersion(): string {
  for (const path of ['./package.json', '../package.json']) {
    try {
      const parsed: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
      const version: unknown =
        typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'version') : undefined
      if (typeof version === 'string') return version
    } catch {
      continue
    }
  }
  return '0.0.0'
}

export const VERSION = readVersion()
