// Links of the pages: each leads somewhere, and each page is found from the README.

import { existsSync, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT, parsePage, readPages, type Page } from '../../fixtures/documentation/page.ts'

const pages = new Map(readPages().map((page) => [page.path, page]))

/** The file and the anchor that a link means; undefined for one that leads elsewhere. */
function meant(page: Page, target: string): { path: string; anchor: string } | undefined {
  if (/^[a-z]+:/.test(target)) return undefined
  const [file = '', anchor = ''] = target.split('#')
  return { path: file === '' ? page.path : normalize(join(dirname(page.path), file)), anchor }
}

function broken(page: Page): string[] {
  return page.links.flatMap(({ line, target }) => {
    const { path, anchor } = meant(page, target) ?? {}
    if (path === undefined) return []
    if (!existsSync(join(ROOT, path))) return [`${page.path}:${line}: there is no ${path}`]
    if (!anchor || pages.get(path)?.anchors.includes(anchor)) return []
    return [`${page.path}:${line}: ${path} has no heading #${anchor}`]
  })
}

/** The pages that a page's links lead to. A link to a folder shows what is in it. */
function nextTo(page: Page | undefined): string[] {
  return (page?.links ?? []).flatMap(({ target }) => {
    const path = page && meant(page, target)?.path
    if (path === undefined || !existsSync(join(ROOT, path))) return []
    if (!statSync(join(ROOT, path)).isDirectory()) return [path]
    const folder = path.replace(/\/?$/, '/')
    return [...pages.keys()].filter((other) => other.startsWith(folder))
  })
}

/** All pages that links lead to, from one. */
function reachedFrom(start: string): Set<string> {
  const reached = new Set([start])
  for (const path of reached) for (const next of nextTo(pages.get(path))) reached.add(next)
  return reached
}

describe('the pages', () => {
  it('have no link that leads nowhere', () => {
    expect([...pages.values()].flatMap(broken)).toEqual([])
  })

  it('are all reached from the README', () => {
    const reached = reachedFrom('README.md')
    expect([...pages.keys()].filter((path) => !reached.has(path))).toEqual([])
  })

  it('are in the index of the README, but for runbooks and decisions', () => {
    const index = pages.get('README.md')?.links.map(({ target }) => target.replace(/#.*$/, '')) ?? []
    const missing = [...pages.keys()].filter(
      (path) => /^docs\/(?!runbooks|decisions)/.test(path) && !index.includes(path),
    )
    expect(missing).toEqual([])
  })
})

describe('the test itself', () => {
  it('finds a planted link to no file and one to no heading', () => {
    const planted = parsePage(
      'docs/planted.md',
      '[a](none.md) [b](operator.md#none) [c](operator.md#scaling) `[d](no)`\n',
    )
    expect(broken(planted)).toEqual([
      'docs/planted.md:1: there is no docs/none.md',
      'docs/planted.md:1: docs/operator.md has no heading #none',
    ])
  })
})
