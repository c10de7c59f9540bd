// UUIDs of the wire: version 4 for tasks and tags, version 5 for the task of a schedule's slot.
import { createHash, randomUUID } from 'node:crypto'

/** A random UUID. */
export const uuid4 = (): string => randomUUID()

/** RFC 4122's namespace for URLs. */
const URL_NAMESPACE = Buffer.from('6ba7b8119dad11d180b400c04fd430c8', 'hex')

/** The UUID that follows from a name: the same name gives the same UUID, anywhere. */
export function uuid5(name: string): string {
  const hash = createHash('sha1').update(URL_NAMESPACE).update(name).digest().subarray(0, 16)
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6)
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = hash.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
