// What the API server last told us of one kind, by key and by owner. Filled by watch.ts, read by reconcile.ts.
// Not a store: nothing is ever written here but what was seen.

import { keyOf, type KubeObject, type ObjectKey } from '../objects.ts'
import type { WatchSink } from './watch.ts'

/** Answers come within seconds: so many deletions later there is none to be feared. */
const MAX_GONE = 10_000

export class Cache<T extends KubeObject> implements WatchSink<T> {
  readonly #objects = new Map<ObjectKey, T>()
  readonly #byOwner = new Map<ObjectKey, Set<ObjectKey>>()
  /** The UIDs of objects that went, with the version at which they did: an answer to an earlier write may come later. */
  readonly #gone = new Map<string, string>()
  readonly #ownerOf: (object: T) => ObjectKey | undefined
  readonly #onChange: (owner: ObjectKey) => void
  /** What of an object is held on to; the same for what was kept already. */
  readonly keep: (object: T) => T

  /**
   * `ownerOf` names the TaskQueue that an object belongs to; `onChange` is told its key whenever the object appears, changes or
   * goes. Neither may throw.
   */
  constructor(
    ownerOf: (object: T) => ObjectKey | undefined,
    onChange: (owner: ObjectKey) => void,
    keep: (object: T) => T = (object) => object,
  ) {
    this.#ownerOf = ownerOf
    this.#onChange = onChange
    this.keep = keep
  }

  get size(): number {
    return this.#objects.size
  }

  get(key: ObjectKey): T | undefined {
    return this.#objects.get(key)
  }

  all(): IterableIterator<T> {
    return this.#objects.values()
  }

  ownedBy(owner: ObjectKey): T[] {
    return [...(this.#byOwner.get(owner) ?? [])].flatMap((key) => this.#objects.get(key) ?? [])
  }

  /** Takes a whole list of one namespace, or of all for an empty name. `version` is the list's own. */
  replace(objects: T[], namespace: string, version: string): void {
    const seen = new Set(objects.map(keyOf))
    for (const [key, object] of this.#objects) {
      const listed = namespace === '' || object.metadata.namespace === namespace
      if (listed && !seen.has(key)) this.remove(at(object, version))
    }
    for (const object of objects) {
      const known = this.#objects.get(keyOf(object))
      if (known?.metadata.resourceVersion !== object.metadata.resourceVersion) this.upsert(object)
    }
  }

  upsert(object: T): void {
    const key = keyOf(object)
    const before = this.#objects.get(key)
    // Our own write, answered already, comes back by the watch: it is no news.
    if (before && (isOlder(object, before) || isSame(object, before))) return
    const wentAt = this.#gone.get(object.metadata.uid ?? '')
    if (wentAt !== undefined && !isOlder(at(object, wentAt), object)) return
    const ownerBefore = before && this.#ownerOf(before)
    const owner = this.#ownerOf(object)
    this.#objects.set(key, this.keep(object))
    if (ownerBefore !== undefined && ownerBefore !== owner) {
      this.#unlink(ownerBefore, key)
      this.#onChange(ownerBefore)
    }
    if (owner === undefined) return
    const siblings = this.#byOwner.get(owner) ?? new Set<ObjectKey>()
    siblings.add(key)
    this.#byOwner.set(owner, siblings)
    this.#onChange(owner)
  }

  remove(object: T): void {
    const key = keyOf(object)
    const known = this.#objects.get(key)
    this.#remember(object)
    // The watch may tell of the end of one object when another of its name is known already.
    if (known && object.metadata.uid !== known.metadata.uid) return
    this.#objects.delete(key)
    const owner = this.#ownerOf(known ?? object)
    if (owner === undefined) return
    this.#unlink(owner, key)
    this.#onChange(owner)
  }

  #remember({ metadata: { uid, resourceVersion } }: T): void {
    if (uid === undefined || resourceVersion === undefined) return
    this.#gone.set(uid, resourceVersion)
    if (this.#gone.size <= MAX_GONE) return
    for (const oldest of this.#gone.keys()) {
      this.#gone.delete(oldest)
      break
    }
  }

  #unlink(owner: ObjectKey, key: ObjectKey): void {
    const siblings = this.#byOwner.get(owner)
    siblings?.delete(key)
    if (siblings?.size === 0) this.#byOwner.delete(owner)
  }
}

/**
 * Our own writes are put into the cache as they are answered, and the watch may still deliver an earlier state: it is passed
 * over. Resource versions of one kind are comparable numbers since Kubernetes 1.35; from others' nothing is concluded.
 */
function isOlder(object: KubeObject, than: KubeObject): boolean {
  const [a, b] = [object.metadata.resourceVersion ?? '', than.metadata.resourceVersion ?? '']
  if (object.metadata.uid !== than.metadata.uid || !/^\d+$/.test(a) || !/^\d+$/.test(b)) return false
  return BigInt(a) < BigInt(b)
}

function isSame({ metadata: a }: KubeObject, { metadata: b }: KubeObject): boolean {
  return a.uid === b.uid && a.resourceVersion !== undefined && a.resourceVersion === b.resourceVersion
}

function at<T extends KubeObject>(object: T, resourceVersion: string): T {
  return { ...object, metadata: { ...object.metadata, resourceVersion } }
}
