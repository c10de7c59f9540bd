// The scripts of the runtime as they are seen on the wire.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** What a script is called by on the wire: the hash of its text with its includes. */
export function sha(script: string): string {
  const lua = (file: string): string =>
    readFileSync(new URL(`../../../../src/runtime/broker/redis/lua/${file}.lua`, import.meta.url), 'utf8')
  const source = lua(script).replace(/^--include (\S+)$/gm, (_, part: string) => lua(`include/${part}`))
  return createHash('sha1').update(source).digest('hex')
}
