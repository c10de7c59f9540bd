// Which folders of node_modules a package needs, by the lock file.
import { expect, it } from 'vitest'
import { installedFor } from '../../../deploy/installed.ts'

const packages = {
  '': { dependencies: { a: '1' } },
  'node_modules/a': { dependencies: { b: '1', '@s/c': '1' } },
  'node_modules/b': {},
  'node_modules/@s/c': { dependencies: { b: '2', a: '1' } },
  'node_modules/@s/c/node_modules/b': { dependencies: { d: '1' } },
  'node_modules/d': {},
  'node_modules/unused': {},
}

it('takes each once, the nearest one where there are several', () => {
  expect(installedFor('a', { packages })).toEqual([
    'node_modules/@s/c',
    'node_modules/@s/c/node_modules/b',
    'node_modules/a',
    'node_modules/b',
    'node_modules/d',
  ])
})

it('says what the lock file lacks, and for whom', () => {
  const broken = { packages: { ...packages, 'node_modules/b': { dependencies: { gone: '1' } } } }
  expect(() => installedFor('a', broken)).toThrow(/no gone, which node_modules\/b needs/)
})
