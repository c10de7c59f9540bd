// How far apart the clocks of pods, broker and NTP are, pair by pair, from what pods measured. Pure, and no judge: what follows is
// clockfinding.ts. An offset that nobody could measure is Unknown, never 0.

import type { BrokerObservation, PodPresence } from './inspect/observation.ts'
import type { LivePod } from './objects.ts'

/** One clock minus another. */
export interface Offset {
  /** Signed: positive when the first is ahead. */
  readonly seconds: number
  /** The pod whose clock it is about. */
  readonly pod: string
  /** Where that pod runs. */
  readonly node?: string
}

/** A clock minus NTP, and the server that said so. */
export interface NtpOffset {
  readonly seconds: number
  readonly source: string
}

export interface Skew {
  /** The pod that is farthest from the broker, and what its companion knows of NTP. */
  readonly broker?: Offset & { readonly ntp?: NtpOffset }
  /** The pod that is farthest from NTP, and the server that it asked. */
  readonly ntp?: Offset & { readonly source: string }
  /** The broker minus NTP, by what most pods say. */
  readonly brokerAgainstNtp?: NtpOffset & { readonly pods: number }
  /** The worker that is farthest from beat: the worker's clock minus beat's. */
  readonly beat?: Offset
  /** True when pods of several nodes all say nearly the same of the broker, beyond its own noise: then it is the broker's clock that is off. */
  readonly shared: boolean
  /** Why pods know nothing of NTP although servers are set: what one of them says. */
  readonly ntpTrouble?: Trouble
  /** Why nobody corrects the clock of a node although somebody should. */
  readonly disciplineTrouble?: Trouble
}

export interface Trouble {
  readonly pod: string
  readonly message: string
}

/** What one pod measured. */
interface PodClock {
  readonly pod: string
  readonly node?: string
  readonly beat: boolean
  readonly broker: number | undefined
  readonly ntp: NtpOffset | undefined
}

export function skewOf(broker: BrokerObservation | undefined, pods: readonly LivePod[]): Skew {
  const known = new Map(pods.map((pod) => [pod.metadata.uid, pod]))
  const entries = (broker?.reachable ? broker.presence : []).flatMap((entry) => {
    const pod = known.get(entry.podUid)
    return pod ? [{ entry, pod }] : []
  })
  const beats = new Set(entries.filter(({ entry }) => entry.kind === 'beat').map(({ entry }) => entry.podUid))
  const clocks = entries.map(({ entry, pod }) => clockOf(entry, pod, beats.has(entry.podUid)))
  // Two containers of a pod share its clock, and only one of them asks NTP: the other may have seen the broker later.
  const ntpOfPod = new Map(clocks.flatMap(({ pod, ntp }) => (ntp ? [[pod, ntp] as const] : [])))
  const fromBroker = clocks.flatMap((clock) => {
    const ntp = ntpOfPod.get(clock.pod)
    return offset(clock, clock.broker).map((each) => ({ ...each, ...(ntp ? { ntp } : {}) }))
  })
  const fromNtp = clocks.flatMap(({ ntp, ...clock }) =>
    ntp ? offset(clock, ntp.seconds).map((each) => ({ ...each, source: ntp.source })) : [],
  )
  const { seconds: worst = 0 } = farthest(fromBroker) ?? {}
  const parts = {
    broker: farthest(fromBroker),
    ntp: farthest(fromNtp),
    brokerAgainstNtp: brokerAgainstNtp(clocks),
    beat: farthestFromBeat(clocks),
    ntpTrouble: troubleOf(entries, 'ntpTrouble'),
    disciplineTrouble: troubleOf(entries, 'disciplineTrouble'),
  }
  // Pods of one node share its clock: they are one witness.
  const distinct = new Set(fromBroker.map(({ node, pod }) => node ?? pod)).size
  return { ...present(parts), shared: distinct > 1 && spread(fromBroker) < Math.abs(worst) / 2 }
}

function clockOf(entry: PodPresence, pod: LivePod, beat: boolean): PodClock {
  const { nodeName } = pod.spec
  return {
    pod: pod.metadata.name,
    ...(nodeName === undefined ? {} : { node: nodeName }),
    beat,
    broker: Number.isFinite(entry.offsetSeconds) ? (entry.offsetSeconds ?? undefined) : undefined,
    ntp: ntpOf(entry.detail.ntp),
  }
}

function offset({ pod, node }: Pick<PodClock, 'pod' | 'node'>, seconds: number | undefined): Offset[] {
  return seconds === undefined ? [] : [{ pod, seconds, ...(node === undefined ? {} : { node }) }]
}

/** A pod may say anything: what is no measurement is none. */
function ntpOf(told: unknown): PodClock['ntp'] {
  if (typeof told !== 'object' || told === null) return undefined
  const { offsetSeconds, source } = told as Record<string, unknown>
  if (typeof offsetSeconds !== 'number' || !Number.isFinite(offsetSeconds)) return undefined
  return { seconds: offsetSeconds, source: typeof source === 'string' ? source.slice(0, 253) : 'a server' }
}

function brokerAgainstNtp(clocks: readonly PodClock[]): Skew['brokerAgainstNtp'] {
  const said = clocks
    .flatMap(({ broker, ntp }) => (broker === undefined || !ntp ? [] : [{ ...ntp, seconds: ntp.seconds - broker }]))
    .toSorted((a, b) => a.seconds - b.seconds)
  const middle = said[Math.floor((said.length - 1) / 2)]
  return middle && { ...middle, pods: said.length }
}

function farthestFromBeat(clocks: readonly PodClock[]): Offset | undefined {
  const beat = clocks.find((clock) => clock.beat && clock.broker !== undefined)?.broker
  if (beat === undefined) return undefined
  const others = clocks.filter((clock) => !clock.beat)
  return farthest(
    others.flatMap((clock) => offset(clock, clock.broker === undefined ? undefined : clock.broker - beat)),
  )
}

/** By name where several are as far, so that the same measurements make the same status. */
function farthest<T extends Offset>(offsets: readonly T[]): T | undefined {
  return offsets.toSorted((a, b) => Math.abs(b.seconds) - Math.abs(a.seconds) || a.pod.localeCompare(b.pod))[0]
}

function spread(offsets: readonly Offset[]): number {
  const all = offsets.map(({ seconds }) => seconds)
  return Math.max(...all) - Math.min(...all)
}

function troubleOf(
  entries: readonly { readonly entry: PodPresence; readonly pod: LivePod }[],
  field: 'ntpTrouble' | 'disciplineTrouble',
): Trouble | undefined {
  const told = entries.flatMap(({ entry, pod }) => {
    const message = entry.detail[field]
    return typeof message === 'string' ? [{ pod: pod.metadata.name, message: message.slice(0, 500) }] : []
  })
  return told.toSorted((a, b) => a.pod.localeCompare(b.pod))[0]
}

function present<T extends object>(parts: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>
  }
}

/**
 * Coarse on purpose, since status is written whenever it changes: under a quarter of a second the clocks agree as far as
 * any schedule or timeout here can tell.
 */
export function skewText(seconds: number | undefined): string {
  if (seconds === undefined) return 'Unknown'
  const size = Math.abs(seconds)
  if (size < 0.25) return '<0.25s'
  const rounded = size < 10 ? (Math.round(size * 2) / 2).toFixed(1) : size.toFixed(0)
  return `${seconds < 0 ? '-' : '+'}${rounded}s`
}
