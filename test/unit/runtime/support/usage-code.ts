// The code of the UsageError that a call ends with.
import { UsageError } from '../../../../src/runtime/errors.ts'

/** The code; `accepted` when the call ends well. Any other error is thrown on. */
export function code(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof UsageError) return error.code
    throw error
  }
  return 'accepted'
}
