// No process reads a variable of ours that its table does not declare: the reference page is made of these tables.

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { COMPANION_VARIABLES } from '../../../src/companion/settings.ts'
import { OPERATOR_VARIABLES } from '../../../src/operator/settings.ts'
import { APP, VARIABLES } from '../../../src/runtime/variables.ts'
import { ROOT } from '../../fixtures/documentation/page.ts'

const declared = [VARIABLES, COMPANION_VARIABLES, OPERATOR_VARIABLES, { APP }].flatMap((table) =>
  Object.values(table).map(({ variable }: { variable: string }) => variable),
)

it('every TASKQUEUE_* name in the sources is declared', () => {
  const files = globSync('src/**/*.ts', { cwd: ROOT }).filter((file) => !/\/(dist|node_modules)\//.test(file))
  const named = files.flatMap(
    (file) => readFileSync(join(ROOT, file), 'utf8').match(/\bTASKQUEUE_[A-Z_]*[A-Z]\b/g) ?? [],
  )
  expect(named.length).toBeGreaterThan(100)
  expect([...new Set(named)].filter((name) => !declared.includes(name))).toEqual([])
})
