// Test tiers by folder; each is a project of its own with the time limits that its kind of test needs.
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Files of e2e share one cluster, one after the other: by name, so that a fresh machine has the order of every other. Vitest's own order,
 * by the times of earlier runs, stays for the tiers whose files share nothing.
 */
class Order extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const byName = (a: TestSpecification, b: TestSpecification): number => a.moduleId.localeCompare(b.moduleId, 'en')
    return files.every(({ project }) => project.name === 'e2e') ? sorted.toSorted(byName) : sorted
  }
}

/** `files`: how many test files run at once. Integration tests wait more than they work, so more than there are cores. */
const tier = (name: string, seconds: number, files: number | undefined, globalSetup: string[] = []) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: seconds * 1000,
    hookTimeout: seconds * 1000 * 4,
    ...(files === undefined ? {} : { maxWorkers: files }),
    globalSetup,
  },
})

export default defineConfig({
  test: {
    // A tier that finds no test is a mistake, not a success.
    passWithNoTests: false,
    // So is one that a forgotten `.only` hides.
    allowOnly: false,
    sequence: { sequencer: Order },
    projects: [
      tier('unit', 20, undefined),
      tier('integration', 60, 5),
      tier('conformance', 90, 3),
      tier('e2e', 120, 1, ['test/e2e/cluster.ts']),
      tier('faults', 300, 2),
    ],
  },
})
