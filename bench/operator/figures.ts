// How the bench writes down what it measured. Not a judgement: it prints, and asserts nothing.

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

/** `p50 1 ms, p90 ...` of milliseconds. */
export function spread(samples: readonly number[]): string {
  const at = (share: number): string => `${percentile(samples, share).toFixed(0)} ms`
  return `${samples.length} samples, p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, max ${at(1)}`
}

/** By nearest rank: the smallest sample that at least this share of them don't exceed. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN
}
