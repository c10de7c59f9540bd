// Runs the checks and the test tiers, one after the other, and ends with one summary. `node test/run.ts [TIER...]`; all without an
// argument. A tier that can't run fails, and so does a test that is skipped: nothing is left out in silence. Not a test framework:
// vitest runs the tests.

import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { ensureBinary, type BinaryName } from '../deploy/local/binaries.ts'
import { ensurePackages, type Package } from '../deploy/local/packages.ts'
import { cacheFolder } from '../deploy/local/settings.ts'
import { describeFailure, Stages } from '../deploy/local/stage.ts'
import { chronydProgram, prometheusPrograms } from './fixtures/unpacked-package.ts'

interface Count {
  passed: number
  failed: number
}

/** What failed, by name and first lines: repeated at the very end, where it is seen when only the end of a log is kept. */
const failures: string[] = []

/** Set by Ctrl-C: no further tier is begun. */
let interrupted = false

const root = join(import.meta.dirname, '..')
const bin = (name: string): string => join(root, 'node_modules/.bin', name)
const tiers = ['unit', 'integration', 'conformance', 'e2e', 'faults'] as const
type Tier = (typeof tiers)[number]

/** Each check is a command that must end well; it counts as one test. */
const checks: readonly (readonly [name: string, ...command: string[]])[] = [
  ['generated files are fresh', process.execPath, join(root, 'crds/generate.ts'), '--check'],
  ['the dashboard is fresh', process.execPath, join(root, 'deploy/monitoring/dashboard.ts'), '--check'],
  ['the chart is fresh', process.execPath, join(root, 'charts/generate.ts'), '--check'],
  ['reference pages are fresh', process.execPath, join(root, 'docs/generate.ts'), '--check'],
  ['API report', process.execPath, join(root, 'docs/api/generate.ts'), '--check'],
  ['types', bin('tsc'), '-p', 'tsconfig.check.json'],
  ['lint', bin('eslint'), '.'],
  ['format', bin('prettier'), '--check', '--log-level', 'warn', '.'],
  [
    'arrows',
    bin('depcruise'),
    'src/*/*.ts',
    'src/*/!(dist|node_modules)/**/*.ts',
    '--config',
    '.dependency-cruiser.cjs',
    '--output-type',
    'err',
  ],
]

/** What tests start and Debian has. */
const packages: readonly Package[] = [
  // Lets a test's process have a clock that is wrong.
  { name: 'faketime', files: ['/usr/bin/faketime'] },
  // Compile the library that gives chronyd one (test/fixtures/clockshift).
  { name: 'gcc', files: ['/usr/bin/gcc', '/usr/local/bin/gcc'] },
  { name: 'libc6-dev', files: ['/usr/include/stdlib.h'] },
  { name: 'redis-server', files: ['/usr/bin/redis-server', '/usr/local/bin/redis-server'] },
  { name: 'openssl', files: ['/usr/bin/openssl', '/usr/local/bin/openssl'] },
]

async function main(asked: readonly string[]): Promise<boolean> {
  const wanted = asked.length > 0 ? asked : ['checks', ...tiers]
  const unknown = wanted.filter((name) => name !== 'checks' && !tiers.some((tier) => tier === name))
  if (unknown.length > 0)
    throw new Error(`There is no tier ${unknown.join(', ')}: known are checks, ${tiers.join(', ')}.`)
  const stages = new Stages((line) => process.stdout.write(`${line}\n`))
  await prepare(wanted, stages)
  const counts: [name: string, count: Count, seconds: number][] = []
  for (const name of wanted) {
    if (interrupted) break
    const started = performance.now()
    process.stdout.write(`==> ${name}\n`)
    const count = name === 'checks' ? await runChecks() : await runTier(name as Tier)
    counts.push([name, count, (performance.now() - started) / 1000])
  }
  return summarise(counts)
}

/** Brings what takes minutes on a new machine before any test's time limit runs: packages and binaries. */
async function prepare(wanted: readonly string[], stages: Stages): Promise<void> {
  if (wanted.every((name) => name === 'checks' || name === 'unit')) return
  await ensurePackages(packages, stages, join(logFolder(), 'apt.log'))
  await chronydProgram()
  await prometheusPrograms()
  const needed = new Map<BinaryName, readonly Tier[]>([
    ['cluster', ['integration', 'e2e', 'faults']],
    ['helm', ['integration', 'e2e', 'faults']],
    ['coredns', ['e2e', 'faults']],
    ['pause', ['e2e', 'faults']],
  ])
  for (const [binary, tiersOf] of needed) {
    if (tiersOf.some((tier) => wanted.includes(tier))) await ensureBinary(binary, stages)
  }
}

async function runChecks(): Promise<Count> {
  const count: Count = { passed: 0, failed: 0 }
  for (const [name, command, ...args] of checks) {
    if (interrupted) break
    const started = performance.now()
    const ok = (await status(command ?? '', args)) === 0
    count[ok ? 'passed' : 'failed']++
    if (!ok) failures.push(`check: ${name}`)
    process.stdout.write(
      `    ${name}: ${ok ? 'ok' : 'FAILED'} in ${((performance.now() - started) / 1000).toFixed(1)} s\n`,
    )
  }
  return count
}

async function runTier(tier: Tier): Promise<Count> {
  const report = join(logFolder(), `tests-${tier}.json`)
  rmSync(report, { force: true })
  // What tests leave in their folder for temporary files goes with it.
  const temporary = mkdtempSync(join(tmpdir(), `taskqueue-${tier}-`))
  // Some of what tests start runs as another user.
  chmodSync(temporary, 0o755)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const code = await status(
    process.execPath,
    [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--project', tier, ...reporters],
    { TMPDIR: temporary },
  )
  rmSync(temporary, { recursive: true, force: true })
  const count = existsSync(report) ? readReport(report) : { passed: 0, failed: 0 }
  // A file that could not be loaded, or a set-up that failed, has no test of its own to fail.
  if ((code !== 0 && count.failed === 0) || count.passed + count.failed === 0) count.failed++
  return count
}

function readReport(file: string): Count {
  const report = JSON.parse(readFileSync(file, 'utf8')) as {
    numPassedTests: number
    numFailedTests: number
    numPendingTests: number
    numTodoTests: number
    testResults: {
      name: string
      message: string
      assertionResults: { fullName: string; status: string; failureMessages: string[] }[]
    }[]
  }
  const skipped = report.numPendingTests + report.numTodoTests
  if (skipped > 0) process.stdout.write(`${skipped} tests were skipped, which counts as failed.\n`)
  for (const { name, message, assertionResults } of report.testResults) {
    const failed = assertionResults.filter(({ status }) => status !== 'passed')
    for (const { fullName, failureMessages } of failed)
      failures.push(`${relative(root, name)}: ${fullName}: ${start(failureMessages.join('\n'))}`)
    if (failed.length === 0 && message) failures.push(`${relative(root, name)}: ${start(message)}`)
  }
  return { passed: report.numPassedTests, failed: report.numFailedTests + skipped }
}

/** The beginning of a failure's text: enough to know it again. */
function start(text: string): string {
  return text.split('\n').slice(0, 6).join('\n      ').slice(0, 800)
}

function summarise(counts: readonly (readonly [name: string, count: Count, seconds: number])[]): boolean {
  const total = (field: keyof Count): number => counts.reduce((sum, [, count]) => sum + count[field], 0)
  process.stdout.write('\n')
  for (const [name, { passed, failed }, seconds] of counts) {
    process.stdout.write(
      `${name.padEnd(12)} ${String(passed).padStart(5)} passed ${String(failed).padStart(4)} failed ${seconds.toFixed(1).padStart(8)} s\n`,
    )
  }
  for (const failure of failures) process.stdout.write(`\nFAILED ${failure}\n`)
  process.stdout.write(`\n${total('passed')} passed, ${total('failed')} failed\n`)
  return total('failed') === 0
}

function status(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
}

function logFolder(): string {
  const folder = join(cacheFolder(), 'logs')
  mkdirSync(folder, { recursive: true })
  return folder
}

// The running command gets the same Ctrl-C, and its end is waited for, so that what it started is taken down.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true
  })
}
main(process.argv.slice(2)).then(
  (ok) => (process.exitCode = interrupted ? 130 : ok ? 0 : 1),
  (error: unknown) => {
    process.stderr.write(`${describeFailure(error)}\n`)
    process.exitCode = 1
  },
)
