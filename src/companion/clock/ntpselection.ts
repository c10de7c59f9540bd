// Which of several servers are believed: RFC 5905's intersection (Marzullo). Pure. Each server claims that the truth lies within its
// offset ± root distance; what more than half of them can agree on is believed, and who is outside of it is a falseticker. Two that
// disagree have no majority: then nothing is known.

/** What one server says. */
export interface Claim {
  readonly name: string
  /** This machine's clock minus the server's, in seconds. */
  readonly offsetSeconds: number
  /** Root distance in seconds. */
  readonly distanceSeconds: number
}

export interface Selection<T extends Claim> {
  /** The truechimer with the smallest root distance; undefined while nothing is known. */
  readonly chosen: T | undefined
  readonly truechimers: readonly T[]
  readonly falsetickers: readonly T[]
  /** Why nothing is known. */
  readonly trouble?: string
}

export function select<T extends Claim>(claims: readonly T[]): Selection<T> {
  const nothing = { chosen: undefined, truechimers: [], falsetickers: [] }
  if (claims.length === 0) return { ...nothing, trouble: 'no server has given a time' }
  for (let outside = 0; outside * 2 < claims.length; outside++) {
    const common = agreement(claims, claims.length - outside)
    if (!common) continue
    const truechimers = claims.filter((claim) => low(claim) <= common.high && high(claim) >= common.low)
    const falsetickers = claims.filter((claim) => !truechimers.includes(claim))
    const chosen = truechimers.reduce((best, claim) => (claim.distanceSeconds < best.distanceSeconds ? claim : best))
    return { chosen, truechimers, falsetickers }
  }
  const names = claims.map(({ name }) => name).join(', ')
  const trouble =
    claims.length === 2
      ? `the servers ${names} disagree, and nothing tells which is wrong: name three or more`
      : `no majority of the servers ${names} agrees`
  return { ...nothing, trouble }
}

const low = (claim: Claim): number => claim.offsetSeconds - claim.distanceSeconds
const high = (claim: Claim): number => claim.offsetSeconds + claim.distanceSeconds

/** From the lowest to the highest point that at least `count` claims hold. */
function agreement(claims: readonly Claim[], count: number): { low: number; high: number } | undefined {
  const holds = (at: number): boolean => claims.filter((claim) => low(claim) <= at && high(claim) >= at).length >= count
  // Such a stretch begins where a claim begins, and ends where one ends.
  const lows = claims.map(low).filter(holds)
  const highs = claims.map(high).filter(holds)
  return lows.length === 0 ? undefined : { low: Math.min(...lows), high: Math.max(...highs) }
}
