// Whether this machine's clock and the broker's agree well enough to fire. Pure. An offset that nobody knows holds nothing.

export interface ClockLimit {
  /** Seconds that the two clocks may be apart. */
  readonly maxSkewSeconds: number
  /** Report says it; HoldBeat fires nothing until they agree again. */
  readonly onSkew: 'Report' | 'HoldBeat'
}

/** The part of the limit to which a skew that was beyond it must fall. */
const RELEASE = 0.9

/**
 * What is wrong between the clocks, for a person; undefined when nothing is.
 * @param offset the machine's clock minus the broker's; how far that may be wrong counts in favour of the clocks
 * @param skewed whether they were too far apart before: then they must come well within the limit, or a skew at the limit would hold and
 * release beat again and again
 */
export function skewProblem(
  offset: { readonly seconds: number | null; readonly errorSeconds: number | null },
  { maxSkewSeconds }: ClockLimit,
  skewed = false,
): string | undefined {
  if (offset.seconds === null) return undefined
  const limit = skewed ? maxSkewSeconds * RELEASE : maxSkewSeconds
  if (Math.abs(offset.seconds) - (offset.errorSeconds ?? 0) <= limit) return undefined
  const way = offset.seconds > 0 ? 'ahead of' : 'behind'
  // Coarse, so that what is told from it doesn't change with every measurement.
  const size = Math.abs(offset.seconds).toFixed(Math.abs(offset.seconds) < 10 ? 1 : 0)
  return `this machine's clock is ${size} s ${way} the broker's, and the limit is ${maxSkewSeconds} s: correct the one that is wrong`
}
