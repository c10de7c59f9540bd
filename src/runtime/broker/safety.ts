// What a broker says of its own settings and of what was taken from it, for those who look after it. Not for tasks.

/** Something that was asked, or why there is no answer. An answer that can't be had is never taken for a good one. */
export type Answer<T> = { readonly known: true; readonly value: T } | { readonly known: false; readonly why: string }

/** Whether a broker keeps what it is given. */
export interface BrokerSafety {
  /** True when it writes its data to disk: an append-only file or snapshots. */
  readonly persistent: Answer<boolean>
  /** Redis' maxmemory-policy. */
  readonly evictionPolicy: Answer<string>
}

/** What lies in kombu's `unacked`: taken, and not settled. */
export interface UnackedState {
  /** Records that no index names, so that nobody ever restores them. */
  readonly withoutIndex: number
  /** Seconds since the oldest was taken, or its lease renewed, by the broker's clock; null when there is none. */
  readonly oldestSeconds: number | null
}

/** Which messages were found in a queue. */
export interface WaitingMessages {
  readonly found: ReadonlySet<string>
  /** False when the queue has more than was searched: what was not found may be there all the same. */
  readonly complete: boolean
}
