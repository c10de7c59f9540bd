// The raw loader: server-side-applies objects that are ready as bytes over 32 connections and looks at nothing. What the API server
// takes from it is the limit of what any operator could reach on this machine.
import { pathOf, resourceOf } from '../../src/operator/kube/resources.ts'
import type { KubeObject } from '../../src/operator/objects.ts'
import { atOnce } from '../../src/operator/atonce.ts'
import type { Wire } from './wire.ts'

export const CONNECTIONS = 32

export async function load(wire: Wire, objects: readonly KubeObject[]): Promise<void> {
  const requests = objects.map((object) => {
    const path = pathOf(resourceOf(object.kind), object.metadata.namespace, object.metadata.name)
    return { path: `${path}?fieldManager=loader&force=true`, body: Buffer.from(JSON.stringify(object)) }
  })
  await atOnce(requests, CONNECTIONS, async ({ path, body }) => {
    const { status, text } = await wire.send('PATCH', path, 'application/apply-patch+yaml', body)
    if (status !== 201) throw new Error(`${path} was answered with ${status}: ${text}`)
  })
}
