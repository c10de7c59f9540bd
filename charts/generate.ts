// Writes what of the chart follows from other files: its README from the comments of values.yaml, and its copies of the alert rules and the
// dashboard, which Helm finds in the chart only. `--check` says whether they are fresh. The CRD's template is made by crds/generate.ts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { format } from 'prettier'
import { isMap, isScalar, parseDocument, type Pair, type YAMLMap } from 'yaml'
import { writeOrCheck } from '../deploy/generated.ts'

const root = join(import.meta.dirname, '..')
const chart = join(import.meta.dirname, 'taskqueue-operator')

interface Value {
  readonly name: string
  readonly about: string
  readonly fallback: string
}

/** Each value that has a default of its own, with the comment above it; a group's comment goes before those of its values. */
function valuesOf(map: YAMLMap, prefix = ''): Value[] {
  return map.items.flatMap((item) => {
    const { key, value } = item
    if (!isScalar(key)) return []
    const name = prefix + String(key.value)
    // The first comment of a block belongs to the map itself.
    const above = key.commentBefore ?? (map.items[0] === item && prefix !== '' ? map.commentBefore : undefined) ?? ''
    const about = above
      .split('\n')
      .map((line) => line.trim())
      .join(' ')
      .trim()
    if (isMap(value) && value.items.length > 0 && !value.flow) {
      const group = about === '' ? [] : [{ name, about, fallback: '' }]
      return [...group, ...valuesOf(value, `${name}.`)]
    }
    return [{ name, about, fallback: JSON.stringify((value as { toJSON(): unknown } | null)?.toJSON() ?? null) }]
  })
}

function readme(): string {
  const document = parseDocument(readFileSync(join(chart, 'values.yaml'), 'utf8'))
  if (!isMap(document.contents)) throw new Error('values.yaml is no map')
  const [first] = document.contents.items as Pair[]
  // What stands above the first key is the document's to the parser.
  if (first && isScalar(first.key))
    first.key.commentBefore ??= document.commentBefore ?? document.contents.commentBefore ?? null
  const rows = valuesOf(document.contents).map(
    ({ name, about, fallback }) =>
      `| \`${name}\` | ${fallback === '' ? '' : `\`${fallback}\``} | ${about.replaceAll('|', '\\|')} |`,
  )
  return `# taskqueue-operator

Runs background work on Kubernetes: workers, one beat and clock companions for each TaskQueue.

\`\`\`sh
helm install taskqueue-operator charts/taskqueue-operator --namespace taskqueue-system --create-namespace
\`\`\`

The CRD is a template of this chart: an upgrade brings the new one, and \`helm uninstall\` leaves it, with every TaskQueue and its pods. How to run it, to upgrade and to remove all of it is in \`docs/operations.md\`.

A value that is not in this table is refused, and so is one of the wrong kind.

## Values

Made from the comments of \`values.yaml\`.

| Value | Default | Meaning |
| --- | --- | --- |
${rows.join('\n')}
`
}

const copied = ['alerts.yaml', 'dashboard.json'].map((name) => ({
  path: join(chart, 'files', name),
  text: readFileSync(join(root, 'deploy/monitoring', name), 'utf8'),
}))
writeOrCheck([
  ...copied,
  { path: join(chart, 'README.md'), text: await format(readme(), { parser: 'markdown', printWidth: 120 }) },
])
