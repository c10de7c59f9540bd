// Command lines of the pages, page by page from the top, as a reader would: run where a Redis, an API server without nodes, Helm and Celery are
// enough, and otherwise checked by what they name. Whole programs of a page are files in the folder that it is worked through in.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attempt } from '../../../deploy/local/command.ts'
import { Ground, Visit } from '../../fixtures/documentation/ground.ts'
import { readPages, reasonNotRun, type Block } from '../../fixtures/documentation/page.ts'
import { nameOf, perform } from '../../fixtures/documentation/programs.ts'
import { commandLines, scriptOf } from '../../fixtures/documentation/shell.ts'
import { Tally } from '../../fixtures/documentation/tally.ts'

const tally = new Tally('command lines')
let ground: Ground

beforeAll(async () => {
  ground = await Ground.open()
})
afterAll(async () => {
  tally.tell()
  await ground.close()
})

/** What is wrong with the command lines of a page; empty for nothing. */
async function complaintsOf(blocks: readonly Block[]): Promise<string[]> {
  const found: string[] = []
  const visit = new Visit(ground, blocks)
  for (const block of blocks.filter(({ language }) => language === 'sh' || language === 'console')) {
    const { status, stderr } = await attempt('bash', ['-n'], { input: scriptOf(block) })
    if (status !== 0) found.push(`${block.page}:${block.line}: ${stderr}`)
    for (const command of commandLines(block)) {
      try {
        tally.add(await perform(visit, command))
      } catch (error) {
        found.push(`${block.page}:${command.line}: ${nameOf(command)}: ${String(error)}`)
      }
    }
  }
  await visit.end()
  return found
}

const pages = readPages()
  .map(({ path, blocks }) => [path, blocks.filter((block) => reasonNotRun(block) === undefined)] as const)
  .filter(([, blocks]) => blocks.some(({ language }) => language === 'sh' || language === 'console'))

describe('command lines of the pages', () => {
  it.each(pages)('those of %s are right', { timeout: 180_000 }, async (_, blocks) => {
    expect(await complaintsOf(blocks)).toEqual([])
  })
})

describe('the test itself', () => {
  const planted = (...lines: string[]): Block[] =>
    lines.map((text, index) => ({ page: 'a.md', line: index + 1, language: 'sh', text: `${text}\n`, note: '' }))

  it('finds a planted error of each program', { timeout: 180_000 }, async () => {
    const blocks = planted(
      'make nothing-of-that',
      'kubectl get taskques',
      'kubectl get taskqueues --all-namespacs',
      'kubectl apply -f deploy/examples/none.yaml',
      'kubectl taskqueue stat orders -n demo',
      'kubectl taskqueue dead orders -n demo list --tsk a',
      'helm install taskqueue-operator charts/taskqueue-operator --set replica=3',
      'taskqueue dead lst',
      'taskqueue send orders.charge --arg 1',
      'npm run nothing',
      'npm install nothing-of-that',
      'node nothing.js',
      'python nothing.py',
      'celery -A tasks worker --concurency 2',
      'deploy/local/nothing.sh',
      'notaprogram',
      'echo $(make nothing)',
    )
    const found = await complaintsOf(blocks)
    expect(found.map((each) => Number(/^a\.md:(\d+)/.exec(each)?.[1]) - 1)).toEqual(blocks.map(({ line }) => line))
  })

  it('finds a worker that can not start, and a line that bash can not read', async () => {
    await expect(complaintsOf(planted('taskqueue worker --app none.js'))).resolves.toHaveLength(1)
    await expect(complaintsOf(planted('cd / && &&'))).resolves.toHaveLength(1)
  })
})
