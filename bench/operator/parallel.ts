// Many requests, so many at a time. Not a queue: it ends with the last of them.

/** Calls `work` for each item, `width` at a time, in order; rejects with the first failure. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T, index: number) => Promise<unknown>,
): Promise<void> {
  const rest = items.entries()
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const [index, item] of rest) await work(item, index)
    }),
  )
}
