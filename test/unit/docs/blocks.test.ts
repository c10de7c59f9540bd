// Every fenced block has a kind that some test runs or checks, or says why not. Also how command lines are read.

import { describe, expect, it } from 'vitest'
import { parsePage, readPages, reasonNotRun, where } from '../../fixtures/documentation/page.ts'
import { commandLines } from '../../fixtures/documentation/shell.ts'

/** What each language is checked by, in test/integration/docs; a text is no code. */
const KINDS: Readonly<Record<string, string>> = {
  yaml: 'yaml',
  json: 'yaml',
  ts: 'typescript',
  js: 'typescript',
  python: 'python',
  sh: 'shell',
  console: 'shell',
  text: 'text',
}

/** Marks are for what no test can run; more than these few would be an excuse. */
const MOST_MARKS = 6

const blocks = readPages().flatMap((page) => page.blocks)

describe('the blocks of the pages', () => {
  it('are of a known kind', () => {
    expect(blocks.filter(({ language }) => KINDS[language] === undefined).map(where)).toEqual([])
  })

  it('are run or checked, all but a few with a reason', () => {
    const counts = new Map<string, number>()
    const marked = blocks.filter((block) => reasonNotRun(block) !== undefined)
    for (const block of blocks) {
      const kind = marked.includes(block) ? 'marked' : (KINDS[block.language] ?? 'unknown')
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    }
    process.stdout.write(`docs: ${[...counts].map(([kind, count]) => `${count} ${kind}`).join(', ')}\n`)
    for (const block of marked) process.stdout.write(`docs: ${where(block)} is not run: ${reasonNotRun(block)}\n`)
    expect(marked.length).toBeLessThanOrEqual(MOST_MARKS)
  })
})

describe('reading a page', () => {
  const page = parsePage(
    'a.md',
    '# A page\n\n<!-- not run: it needs the moon -->\n\n```sh\nls\n```\n\n## A `b`, c\n\n  ```js\n  x\n  ```\n',
  )

  it('finds blocks, the notes above them and headings', () => {
    expect(page.blocks).toEqual([
      { page: 'a.md', line: 5, language: 'sh', text: 'ls\n', note: 'not run: it needs the moon' },
      { page: 'a.md', line: 11, language: 'js', text: 'x\n', note: '' },
    ])
    expect(page.anchors).toEqual(['a-page', 'a-b-c'])
  })

  it('refuses a fence that nothing closes', () => {
    expect(() => parsePage('a.md', '```sh\nls\n')).toThrow('a.md:1')
  })
})

describe('reading command lines', () => {
  const read = (text: string, language = 'sh'): unknown =>
    commandLines({ page: 'a.md', line: 1, language, text, note: '' })

  it.each<[string, [number, Record<string, string>, ...string[]][]]>([
    ['ls -l   # all of it\n', [[2, {}, 'ls', '-l']]],
    [
      'A=1 B="x y" ls && cd /; true\n',
      [
        [2, { A: '1', B: 'x y' }, 'ls'],
        [2, {}, 'cd', '/'],
        [2, {}, 'true'],
      ],
    ],
    [
      'send a \\\n  --args \'["A-17"]\'\nls\n',
      [
        [2, {}, 'send', 'a', '--args', '["A-17"]'],
        [4, {}, 'ls'],
      ],
    ],
    ['source <(kubectl completion)\n', [[2, {}, 'source', '<(kubectl completion)']]],
    ['export PATH="$(dirname "$(x)"):$PATH"\n', [[2, {}, 'export', 'PATH=$(dirname $(x)):$PATH']]],
  ])('reads %j', (text, expected) => {
    expect(read(text)).toEqual(expected.map(([line, environment, ...words]) => ({ line, environment, words })))
  })

  it('takes what stands behind the prompt of a console', () => {
    expect(read('$ ls\na b\n', 'console')).toEqual([{ line: 2, environment: {}, words: ['ls'] }])
  })

  it('refuses a quote that nothing closes', () => {
    expect(() => read("ls 'a\n")).toThrow('a.md:')
  })
})
