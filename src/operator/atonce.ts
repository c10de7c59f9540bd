// Several requests at once, so many at a time: writes of one TaskQueue, so that it takes no connections from the others. Not a queue: it ends with them.

/**
 * Does `work` for each item, `width` at a time. When one fails no other is begun, and its error is thrown once those under way have
 * ended: nothing goes on behind the caller's back.
 */
export async function atOnce<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const rest = items.values()
  const errors: unknown[] = []
  const lane = async (): Promise<void> => {
    for (const item of rest) {
      if (errors.length > 0) return
      await work(item).catch((error: unknown) => errors.push(error))
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane))
  if (errors.length > 0) throw errors[0]
}
