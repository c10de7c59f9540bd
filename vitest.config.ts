// Test tiers by folder; each is a project of its own with the time limits that its kind of test needs.
import { defineConfig } from 'vitest/config'

const tier = (name: string, seconds: number, sequential: boolean, globalSetup: string[] = []) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: seconds * 1000,
    hookTimeout: seconds * 1000 * 4,
    fileParallelism: !sequential,
    globalSetup,
  },
})

export default defineConfig({
  test: {
    // A tier that finds no test is a mistake, not a success.
    passWithNoTests: false,
    projects: [
      tier('unit', 20, false),
      tier('integration', 60, true),
      tier('conformance', 90, true),
      tier('e2e', 120, true, ['test/e2e/cluster.ts']),
      tier('faults', 300, true),
    ],
  },
})
