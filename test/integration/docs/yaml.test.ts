// YAML and JSON of the pages. Objects go to a real API server, by a strict dry run; parts of a TaskQueue go there as parts of a whole one;
// values of the chart are rendered first; a schedules file is read as beat reads it; a log line is held against the index template.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { ensureBinary } from '../../../deploy/local/binaries.ts'
import { attempt } from '../../../deploy/local/command.ts'
import { Stages } from '../../../deploy/local/stage.ts'
import { parseSchedulesFile } from '../../../src/runtime/triggers/schedules-file.ts'
import { ControlPlane, nodeSpec } from '../../fixtures/controlplane.ts'
import { ROOT, blocksIn, where, type Block } from '../../fixtures/documentation/page.ts'
import { Tally } from '../../fixtures/documentation/tally.ts'
import { complaints } from '../../fixtures/log-schema.ts'

type Fields = Record<string, unknown>

const CHART = join(ROOT, 'charts/taskqueue-operator')
const tally = new Tally('yaml and json')

let plane: ControlPlane
let helm: string

beforeAll(async () => {
  helm = join(await ensureBinary('helm', new Stages(() => undefined)), 'helm')
  plane = await ControlPlane.start()
  for (const name of ['shop', 'taskqueue-system'])
    await plane.client.json('POST', '/api/v1/namespaces', {
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
    })
})
afterAll(async () => {
  tally.tell()
  await plane.stop()
})

/** What the API server has against it; empty when it would take it. */
async function refusal(text: string): Promise<string> {
  const { status, stderr } = await plane.dryRun(text)
  return status === 0 ? '' : stderr
}

/** A whole TaskQueue with the given part of its spec, of the engine that the part is for. */
function whole(spec: Fields): string {
  const { scheduler } = (spec['beat'] ?? {}) as Fields
  const engine = scheduler === 'Celery' ? 'Celery' : 'Node'
  return stringify({
    apiVersion: 'taskqueue.dev/v1alpha1',
    kind: 'TaskQueue',
    metadata: { name: 'part' },
    spec: { ...nodeSpec('redis://redis:6379/0', { engine }), ...spec },
  })
}

async function rendered(values: string): Promise<string> {
  const args = [
    'template',
    'taskqueue-operator',
    CHART,
    '--namespace',
    'taskqueue-system',
    '--skip-tests',
    '--values',
    '-',
  ]
  const { status, stdout, stderr } = await attempt(helm, args, { input: values })
  if (status !== 0) throw new Error(stderr)
  return stdout
}

function scheduleComplaint(text: string): string {
  try {
    parseSchedulesFile(text)
    return ''
  } catch (error) {
    return String(error)
  }
}

/** What is wrong with the block; empty for nothing. */
async function complaintOf(block: Block): Promise<string> {
  const { language, text, note } = block
  if (language === 'json') return complaints([JSON.parse(text) as object]).join('\n')
  if (note === 'values of the chart') return refusal(await rendered(text))
  const documents = parseAllDocuments(text).map((document) => document.toJS() as Fields)
  if (documents.every(({ apiVersion, kind }) => apiVersion !== undefined && kind !== undefined)) return refusal(text)
  const [fields = {}] = documents
  if (Object.keys(fields).join() === 'spec') return refusal(whole(fields['spec'] as Fields))
  if ('schedules' in fields) return scheduleComplaint(text)
  return 'it is neither an object, nor the spec of a TaskQueue, nor a schedules file, nor marked as values of the chart'
}

describe('YAML and JSON of the pages', () => {
  const blocks = blocksIn('yaml', 'json')

  it.each(blocks.map((block) => [where(block), block] as const))('%s is taken', async (_, block) => {
    expect(await complaintOf(block)).toBe('')
    tally.add(block.note === 'values of the chart' ? 'rendered and run dry' : 'checked')
  })
})

describe('the test itself', () => {
  const planted = (language: string, text: string, note = ''): Block => ({
    page: 'a.md',
    line: 1,
    language,
    text,
    note,
  })
  const object = parse(whole({})) as Fields

  it.each<[string, Block, RegExp]>([
    [
      'an object with a field that there is none of',
      planted('yaml', stringify({ ...object, spec: { ...(object['spec'] as Fields), wrokers: [] } })),
      /wrokers/,
    ],
    [
      'a part with a field that there is none of',
      planted('yaml', 'spec:\n  patrol: { stalledSecond: 120 }\n'),
      /stalledSecond/,
    ],
    ['a part that a rule refuses', planted('yaml', 'spec:\n  workers: [{ name: beat }]\n'), /can not be named "beat"/],
    ['a schedule without a trigger', planted('yaml', 'schedules: [{ name: a, task: b }]\n'), /ScheduleInvalid|cron/],
    ['a log line with a field of its own', planted('json', '{"level": "info", "tsk": 1}'), /tsk/],
    ['YAML that is for nothing', planted('yaml', 'a: 1\n'), /neither an object/],
  ])('finds %s', async (_, block, expected) => {
    expect(await complaintOf(block)).toMatch(expected)
  })

  it('finds a value that the chart has none of', async () => {
    await expect(complaintOf(planted('yaml', 'replica: 3\n', 'values of the chart'))).rejects.toThrow(/replica/)
  })
})
