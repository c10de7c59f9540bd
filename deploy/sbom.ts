// The list of an image's packages, in CycloneDX's JSON, by `npm sbom` from what is installed. Without what would differ from one build to the
// next: the time and a random number.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './local/command.ts'

/** Where the list lies in the folder that goes into an image. */
export const SBOM = 'sbom.cdx.json'

interface CycloneDx {
  serialNumber?: string
  metadata: { timestamp?: string }
}

/**
 * @param folder with a package.json that names no development dependencies, and with its node_modules
 * @throws LocalClusterError `COMMAND_FAILED` when a dependency is not installed
 */
export async function writeSbom(folder: string): Promise<void> {
  const told = await run('npm', ['sbom', '--sbom-format=cyclonedx', '--sbom-type=application'], { cwd: folder })
  const list = JSON.parse(told) as CycloneDx
  delete list.serialNumber
  delete list.metadata.timestamp
  writeFileSync(join(folder, SBOM), `${JSON.stringify(list, null, 2)}\n`)
}
