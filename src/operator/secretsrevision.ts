// Which Secrets the pods of a TaskQueue read, and a text that changes when one of their values does. Pure.

import { createHmac } from 'node:crypto'
import type { TaskQueue } from './taskqueue.ts'

export interface SecretReference {
  /** Where the spec names it. */
  readonly field: string
  readonly name: string
  readonly key: string
}

/** The keys of Secrets that become variables of the pods. */
export function secretReferences({ spec }: TaskQueue): SecretReference[] {
  const from = (field: string, source: { urlFrom?: { secretKeyRef: { name: string; key: string } } }) =>
    source.urlFrom ? [{ field, ...source.urlFrom.secretKeyRef }] : []
  return [...from('broker', spec.broker), ...from('results', spec.results)]
}

/** Short and stable; without the key it tells nothing of the values. */
export function secretsRevision(hmacKey: Buffer, values: readonly (readonly [field: string, value: string])[]): string {
  return createHmac('sha256', hmacKey).update(JSON.stringify(values)).digest('hex').slice(0, 16)
}
