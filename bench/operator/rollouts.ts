// Sees Deployments change, by a watch of their metadata alone: the generation counts the changes of a spec. Tells when, on the clock of
// this process.
import { createInterface } from 'node:readline'
import type { IncomingMessage } from 'node:http'
import { deployments, pathOf } from '../../src/operator/kube/resources.ts'
import { NAMESPACE, type Plane } from './plane.ts'
import type { Wire } from './wire.ts'

const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'

interface Seen {
  generation: number
  /** Milliseconds of performance.now(). */
  at: number
}

interface WatchEvent {
  readonly type: string
  readonly object: { readonly metadata: { readonly name: string; readonly generation?: number } }
}

export class DeploymentWatch {
  readonly #wire: Wire
  readonly #seen = new Map<string, Seen>()
  readonly #waiting = new Map<string, { after: number; resolve: (at: number) => void }>()
  #stream: IncomingMessage | undefined
  #ended: string | undefined

  private constructor(wire: Wire) {
    this.#wire = wire
  }

  static async open(plane: Plane): Promise<DeploymentWatch> {
    const watch = new DeploymentWatch(await plane.wireOf('watcher', 1))
    const path = `${pathOf(deployments, NAMESPACE)}?watch=true&timeoutSeconds=3600`
    const stream = await watch.#wire.open('GET', path, { accept: METADATA })
    watch.#stream = stream
    const lines = createInterface({ input: stream })
    lines.on('line', (line) => watch.#take(JSON.parse(line) as WatchEvent))
    lines.on('close', () => (watch.#ended = 'the watch of the bench has ended'))
    return watch
  }

  /** The generation that was seen last; 0 while none was. */
  generation(name: string): number {
    return this.#seen.get(name)?.generation ?? 0
  }

  /** When the Deployment was first seen beyond this generation. Rejects after half a minute. */
  async beyond(name: string, generation: number): Promise<number> {
    if (this.#ended !== undefined) throw new Error(this.#ended)
    const seen = this.#seen.get(name)
    if (seen && seen.generation > generation) return seen.at
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${name} was not changed within 30 s`)), 30_000)
      const settle = (at: number): void => {
        clearTimeout(late)
        resolve(at)
      }
      this.#waiting.set(name, { after: generation, resolve: settle })
    })
  }

  close(): void {
    this.#stream?.destroy()
    this.#wire.close()
  }

  #take({ object }: WatchEvent): void {
    const { name, generation = 0 } = object.metadata
    if (generation <= this.generation(name)) return
    const at = performance.now()
    this.#seen.set(name, { generation, at })
    const waiting = this.#waiting.get(name)
    if (!waiting || generation <= waiting.after) return
    this.#waiting.delete(name)
    waiting.resolve(at)
  }
}
