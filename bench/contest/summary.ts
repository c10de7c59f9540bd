// From the figures of rounds to what is told: medians, spreads, and ratios that are taken within a round. Pure.

import type { RoundScenario } from './plan.ts'

/** What one entrant reached in each round: jobs a second, or for latency the median of the round in milliseconds. */
export interface Series {
  readonly entrant: string
  readonly rounds: readonly number[]
  /** Of latency: all samples of all rounds, in milliseconds. */
  readonly percentiles?: { readonly p50: number; readonly p99: number; readonly p999: number }
}

export interface Outcome {
  readonly scenario: RoundScenario
  readonly series: readonly Series[]
}

export interface Line {
  readonly entrant: string
  readonly median: number
  readonly least: number
  readonly most: number
  /** How many times as much as this one the first entrant does: the median of the ratios of each round; undefined for itself. */
  readonly ratio: number | undefined
}

export function summarise({ series }: Outcome): Line[] {
  const [first] = series
  return series.map(({ entrant, rounds }) => ({
    entrant,
    median: median(rounds),
    least: Math.min(...rounds),
    most: Math.max(...rounds),
    ratio:
      first === undefined || entrant === first.entrant
        ? undefined
        : median(rounds.map((value, round) => (first.rounds[round] ?? NaN) / value)),
  }))
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  if (sorted.length === 0) return NaN
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2
}
