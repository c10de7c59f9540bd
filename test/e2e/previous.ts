// The release before this one, as far as an upgrade can tell: a chart of a lower version, whose CRD lacks what has come since, and an operator
// whose image has another name. The program in that image is this checkout's, so that no history of Git is needed.

import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CHART } from '../../deploy/demo/install.ts'

export const PREVIOUS_VERSION = '0.0.9'
/** Of spec and of status: the CRD of the previous release has no such field. */
export const NEW_FIELD = 'patrol'

/** Writes the chart of the previous release into a folder of the tier's own. @returns the folder */
export function previousChart(): string {
  const folder = join(mkdtempSync(join(tmpdir(), 'previous-chart-')), 'taskqueue-operator')
  cpSync(CHART, folder, { recursive: true })
  rewrite(join(folder, 'Chart.yaml'), (text) => text.replace(/^(version|appVersion): .*$/gm, `$1: ${PREVIOUS_VERSION}`))
  rewrite(join(folder, 'templates/crd.yaml'), withoutNewField)
  return folder
}

/** Each field of that name goes, with the lines under it. The template has more than YAML, so it is taken as text. */
function withoutNewField(template: string): string {
  return template.replace(new RegExp(`^( *)${NEW_FIELD}:\\n(\\1 .*\\n)*`, 'gm'), '')
}

function rewrite(path: string, change: (text: string) => string): void {
  const before = readFileSync(path, 'utf8')
  const after = change(before)
  if (after === before) throw new Error(`${path}: nothing in it is of a version`)
  writeFileSync(path, after)
}
