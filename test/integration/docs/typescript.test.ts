// TypeScript and JavaScript of the pages, against the types of the built packages. Whole programs are run by shell.test.ts.

import { afterAll, describe, expect, it } from 'vitest'
import { blocksIn, type Block } from '../../fixtures/documentation/page.ts'
import { Tally } from '../../fixtures/documentation/tally.ts'
import { diagnose } from '../../fixtures/documentation/typescript.ts'

const tally = new Tally('ts and js')
afterAll(() => tally.tell())

describe('TypeScript and JavaScript of the pages', () => {
  it('are what the compiler takes', () => {
    const blocks = blocksIn('ts', 'js')
    expect(blocks.length).toBeGreaterThan(10)
    expect(diagnose(blocks)).toEqual([])
    tally.add('type-checked', blocks.length)
  })
})

describe('the test itself', () => {
  const planted = (language: string, text: string, note = ''): Block => ({
    page: 'a.md',
    line: 4,
    language,
    text,
    note,
  })

  it('finds planted errors, at their lines', () => {
    const found = diagnose([
      planted('ts', "import { TaskApp } from '@taskqueue/runtime'\nnew TaskApp({ name: 1 })\n"),
      { ...planted('js', "import { TaskAppp } from '@taskqueue/runtime'\nTaskAppp\n"), line: 10 },
      { ...planted('ts', 'two.toFixed()\n', 'preamble\ndeclare const two: string'), line: 20 },
      { ...planted('ts', "import { a } from './b.js'\na\n"), line: 30 },
    ])
    const places = found.map((each) => Number(/^a\.md:(\d+): /.exec(each)?.[1]))
    expect(places.toSorted((a, b) => a - b)).toEqual([6, 11, 21, 31])
  })
})
