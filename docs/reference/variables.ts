// The page of environment variables, out of the tables that the processes read them by.

import { COMPANION_VARIABLES } from '../../src/companion/settings.ts'
import { OPERATOR_VARIABLES } from '../../src/operator/settings.ts'
import type { Variable } from '../../src/runtime/variable.ts'
import { APP, VARIABLES } from '../../src/runtime/variables.ts'
import { code, table } from './markdown.ts'

function valuesOf(declared: Variable): string {
  switch (declared.kind) {
    case 'number':
      return `${declared.whole ? 'whole number' : 'number'}, ${declared.least} to ${declared.most}`
    case 'choice':
      return declared.values.map(code).join(', ')
    case 'flag':
      return '`true`, `false`'
    case 'text':
      return declared.what
  }
}

function rows(declared: readonly Variable[]): string {
  return table(
    ['Variable', 'Values', 'Default', 'Meaning'],
    declared.map((each) => [
      code(each.variable),
      valuesOf(each),
      each.fallback === undefined ? '' : code(String(each.fallback)),
      each.meaning,
    ]),
  )
}

export function variablesPage(): string {
  return `# Environment variables

Made from the code's own tables by \`make generate\`. How code, flags and variables go together is in [settings](../settings.md).

## Workers, beats, producers and the command taskqueue

An unset and an empty variable are the same. One that can't be read ends the process with 2 and says what it may be.

${rows([APP, ...Object.values(VARIABLES)])}

## The companion

The operator sets them; one that can't be read is told and replaced by its default, since the companion stands on the pod's critical path.

${rows(Object.values(COMPANION_VARIABLES))}

## The operator

The chart sets them by its [values](../../charts/taskqueue-operator/README.md).

${rows([...Object.values(OPERATOR_VARIABLES), VARIABLES.logLevel])}

## Of others

\`KUBECONFIG\` is read by the operator and by \`kubectl taskqueue\`, as kubectl reads it. \`KUBERNETES_SERVICE_HOST\` says that a process runs in a pod. \`NO_COLOR\` turns colours off.
`
}
