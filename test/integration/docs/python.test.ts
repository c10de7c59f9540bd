// Python of the pages: all of it is compiled, and what is a whole module is imported where Celery is. Programs are run by shell.test.ts.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attempt } from '../../../deploy/local/command.ts'
import { celeryBin } from '../../conformance/support/celery.ts'
import { blocksIn, fileNameOf, where, type Block } from '../../fixtures/documentation/page.ts'
import { Tally } from '../../fixtures/documentation/tally.ts'

const tally = new Tally('python')
let python: string
let folder: string

beforeAll(async () => {
  python = join(await celeryBin('5.7'), 'python')
  folder = mkdtempSync(join(tmpdir(), 'taskqueue-docs-'))
})
afterAll(() => {
  tally.tell()
  rmSync(folder, { recursive: true, force: true })
})

const COMPILE = 'import sys; compile(sys.stdin.read(), sys.argv[1], "exec")'

/** What Python has against it; empty for nothing. */
async function complaintOf(block: Block): Promise<string> {
  const name = fileNameOf(block)
  if (name === undefined) {
    const { status, stderr } = await attempt(python, ['-c', COMPILE, where(block)], { input: block.text })
    return status === 0 ? '' : stderr
  }
  const home = join(folder, block.page.replaceAll('/', '-'))
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, name), block.text)
  // A program that sends when it is run has its sending below `if __name__ == "__main__"`, as Python's own pages have.
  const { status, stderr } = await attempt(python, ['-c', `import ${basename(name, '.py')}`], {
    cwd: home,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
  })
  return status === 0 ? '' : stderr
}

describe('Python of the pages', () => {
  it.each(blocksIn('python').map((block) => [where(block), block] as const))('%s is taken', async (_, block) => {
    expect(await complaintOf(block)).toBe('')
    tally.add(fileNameOf(block) === undefined ? 'compiled' : 'imported')
  })
})

describe('the test itself', () => {
  const planted = (text: string): Block => ({ page: 'a.md', line: 1, language: 'python', text, note: '' })

  it.each([
    ['a part that is no Python', 'def f(:\n', /SyntaxError/],
    ['a module that imports what is not there', '# planted.py\nfrom celery import Celerie\n', /ImportError/],
  ])('finds %s', async (_, text, expected) => {
    expect(await complaintOf(planted(text))).toMatch(expected)
  })
})
