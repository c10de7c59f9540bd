// Writes docs/reference/: pages that follow from declarations, of the resource in crds/, of variables and of commands in src/. `--check` says
// whether they are fresh. Needs a build, since the operator and the companion import the runtime by its package.

import { join } from 'node:path'
import { format } from 'prettier'
import { writeOrCheck } from '../deploy/generated.ts'
import { commandsPage } from './reference/commands.ts'
import { taskQueuePage } from './reference/taskqueue.ts'
import { variablesPage } from './reference/variables.ts'

const pages: Readonly<Record<string, string>> = {
  'taskqueue.md': taskQueuePage(),
  'variables.md': variablesPage(),
  'commands.md': commandsPage(),
}

writeOrCheck(
  await Promise.all(
    Object.entries(pages).map(async ([name, text]) => ({
      path: join(import.meta.dirname, 'reference', name),
      text: await format(text, { parser: 'markdown', printWidth: 120 }),
    })),
  ),
)
