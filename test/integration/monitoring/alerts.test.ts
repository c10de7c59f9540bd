// The alert rules, by Prometheus' own tool: that they are rules, that each fires when it should and only then, and that each has a page.

import { copyFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { attempt } from '../../../deploy/local/command.ts'
import { alertRules } from '../../fixtures/monitoring.ts'
import { ALERTS } from '../../fixtures/prometheus.ts'
import { prometheusPrograms } from '../../fixtures/unpacked-package.ts'

const root = join(import.meta.dirname, '../../..')
const RULE_TESTS = join(import.meta.dirname, 'alerts.rules.yaml')
const folder = mkdtempSync(join(tmpdir(), 'alerts-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface RuleTests {
  readonly tests: readonly {
    readonly alert_rule_test: readonly { readonly alertname: string; readonly exp_alerts: readonly object[] }[]
  }[]
}

describe('the alert rules', () => {
  it('are rules to promtool, and fire when they should and only then', async () => {
    const { promtool } = await prometheusPrograms()
    for (const file of [ALERTS, RULE_TESTS]) copyFileSync(file, join(folder, file.split('/').at(-1) ?? ''))
    const checked = await attempt(promtool, ['check', 'rules', 'alerts.yaml'], { cwd: folder })
    expect(checked.stdout + checked.stderr).toContain(`SUCCESS: ${alertRules().length} rules found`)
    const tested = await attempt(promtool, ['test', 'rules', 'alerts.rules.yaml'], { cwd: folder })
    expect(tested.stdout + tested.stderr).toContain('SUCCESS')
    expect(tested.status).toBe(0)
  })

  it('are each tested', () => {
    const { tests } = parse(readFileSync(RULE_TESTS, 'utf8')) as RuleTests
    const fire = tests
      .flatMap(({ alert_rule_test: each }) => each)
      .filter(({ exp_alerts: alerts }) => alerts.length > 0)
      .map(({ alertname }) => alertname)
    expect([...new Set(fire)].sort()).toEqual(
      alertRules()
        .map(({ alert }) => alert)
        .sort(),
    )
  })

  it('have a page each that says what it means, what to look at and what to do, and there is no page too many', () => {
    const pages = readdirSync(join(root, 'docs/runbooks')).sort()
    expect(pages).toEqual(
      alertRules()
        .map(({ alert }) => `${alert}.md`)
        .sort(),
    )
    for (const { alert, annotations, labels } of alertRules()) {
      expect(annotations.runbook).toBe(`docs/runbooks/${alert}.md`)
      expect(existsSync(join(root, annotations.runbook))).toBe(true)
      expect(readFileSync(join(root, annotations.runbook), 'utf8')).toMatch(
        new RegExp(`^# ${alert}\n\n[^#]{60,}\n## Look at\n\n- [^#]+\n## Do\n\n- `),
      )
      expect(['critical', 'warning']).toContain(labels.severity)
    }
  })
})
