// How an environment variable is declared: its name, its default, what it may be and what it means. Declarations are what is read by and
// what docs/reference/variables.md is made of. Reads nothing itself.

interface Declared {
  readonly variable: string
  /** One sentence or two, as Markdown. */
  readonly meaning: string
}

export interface NumberVariable extends Declared {
  readonly kind: 'number'
  readonly fallback: number
  readonly least: number
  readonly most: number
  readonly whole: boolean
}

export interface ChoiceVariable<T extends string = string> extends Declared {
  readonly kind: 'choice'
  readonly fallback: T
  readonly values: readonly T[]
}

export interface FlagVariable extends Declared {
  readonly kind: 'flag'
  readonly fallback: boolean
}

export interface TextVariable extends Declared {
  readonly kind: 'text'
  /** What the text is, such as `a URL`. */
  readonly what: string
  /** Undefined when none is assumed; a default that follows from something else is told in {@link meaning}. */
  readonly fallback: string | undefined
}

export type Variable = NumberVariable | ChoiceVariable | FlagVariable | TextVariable

/** Fractions are allowed. */
export function number(
  variable: string,
  fallback: number,
  least: number,
  most: number,
  meaning: string,
): NumberVariable {
  return { kind: 'number', variable, fallback, least, most, whole: false, meaning }
}

export function whole(
  variable: string,
  fallback: number,
  least: number,
  most: number,
  meaning: string,
): NumberVariable {
  return { ...number(variable, fallback, least, most, meaning), whole: true }
}

export function choice<const T extends string>(
  variable: string,
  fallback: NoInfer<T>,
  values: readonly T[],
  meaning: string,
): ChoiceVariable<T> {
  return { kind: 'choice', variable, fallback, values, meaning }
}

export function flag(variable: string, fallback: boolean, meaning: string): FlagVariable {
  return { kind: 'flag', variable, fallback, meaning }
}

export function text(variable: string, what: string, meaning: string, fallback?: string): TextVariable {
  return { kind: 'text', variable, what, fallback, meaning }
}
