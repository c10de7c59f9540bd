// The key of the revisions that pods carry of their Secrets: random, made once, in a Secret beside the operator, so that nobody can
// find a weak password by trying them against an annotation. Lost, it is made anew, and pods roll once.

import { randomBytes } from 'node:crypto'
import { isConflict } from '../errors.ts'
import type { KubeObject } from '../objects.ts'
import type { KubeClient } from './client.ts'
import { secrets } from './resources.ts'

export const HMAC_SECRET = 'taskqueue-operator-hmac'
const FIELD = 'key'
const BYTES = 32

type Secret = KubeObject & { data?: Record<string, string>; type?: string }

/** Reads the key, or makes it. @throws ApiError when neither is allowed */
export async function hmacKey(client: KubeClient, namespace: string): Promise<Buffer> {
  const known = await read(client, namespace)
  if (known) return known
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name: HMAC_SECRET, labels: { 'app.kubernetes.io/name': 'taskqueue-operator' } },
    type: 'Opaque',
    data: { [FIELD]: randomBytes(BYTES).toString('base64') },
  }
  try {
    await client.create(secret, 'taskqueue-operator')
  } catch (error) {
    // Another operator was faster; or it is there, and can't be used.
    if (!isConflict(error)) throw error
  }
  const made = await read(client, namespace)
  if (!made)
    throw new Error(
      `Secret ${namespace}/${HMAC_SECRET} has no ${FIELD} of ${BYTES} bytes: delete it, and the operator makes it anew`,
    )
  return made
}

async function read(client: KubeClient, namespace: string): Promise<Buffer | undefined> {
  const secret = await client.get<Secret>(secrets, namespace, HMAC_SECRET)
  const key = Buffer.from(secret?.data?.[FIELD] ?? '', 'base64')
  return key.length >= BYTES ? key : undefined
}
