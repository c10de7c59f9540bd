// The page of the TaskQueue resource: every field, every rule, every column, out of the CRD.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { code, plain, table } from './markdown.ts'

const source = join(import.meta.dirname, '../../crds/taskqueues.taskqueue.dev.yaml')

interface Schema {
  readonly type?: string
  readonly format?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly maxProperties?: number
  readonly pattern?: string
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly additionalProperties?: Schema
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message: string }[]
}

interface Column {
  readonly name: string
  readonly type: string
  readonly jsonPath: string
  readonly description?: string
  readonly priority?: number
}

interface Crd {
  readonly spec: {
    readonly group: string
    readonly names: { readonly kind: string; readonly shortNames: readonly string[] }
    readonly versions: readonly {
      readonly name: string
      readonly additionalPrinterColumns: readonly Column[]
      readonly schema: { readonly openAPIV3Schema: Schema }
    }[]
  }
}

interface Field {
  readonly path: string
  readonly schema: Schema
  readonly needed: boolean
}

/** The schema itself and all below it, in the order of the CRD. */
function fieldsOf(path: string, schema: Schema, needed: boolean): Field[] {
  const { properties = {}, required = [], items } = schema
  return [
    { path, schema, needed },
    ...Object.entries(properties).flatMap(([name, property]) =>
      fieldsOf(path === '' ? name : `${path}.${name}`, property, required.includes(name)),
    ),
    // Of a list's items the fields are told; what a plain item may be stands with the list.
    ...(items?.properties ? fieldsOf(`${path}[]`, items, false).slice(1) : []),
  ]
}

const TYPES: Readonly<Record<string, string>> = { string: 'text', integer: 'whole number', boolean: 'true or false' }

function typeOf({ type, format, items, additionalProperties }: Schema): string {
  if (format === 'date-time') return 'time'
  if (type === 'array') return `list of ${items?.properties ? 'objects' : items?.type ? typeOf(items) : 'anything'}`
  if (type === 'object' && additionalProperties) return `map of ${typeOf(additionalProperties)}`
  return TYPES[type ?? ''] ?? type ?? 'anything'
}

/** `1 to 50`, or what of it there is. */
function span(least: number | undefined, most: number | undefined, of = ''): string[] {
  if (least === undefined && most === undefined) return []
  if (least === undefined) return [`at most ${String(most)}${of}`]
  return [`${least}${most === undefined ? ' or more' : ` to ${most}`}${of}`]
}

function allowed(schema: Schema): string {
  const { items, additionalProperties } = schema
  return [
    ...(schema.enum ?? []).map((value) => code(value)),
    ...span(schema.minimum, schema.maximum),
    ...span(schema.minLength, schema.maxLength, ' characters'),
    ...span(schema.minItems, schema.maxItems, ' items'),
    ...span(undefined, schema.maxProperties, ' entries'),
    ...(schema.pattern === undefined ? [] : [code(schema.pattern)]),
    ...(items && !items.properties && allowed(items) !== '' ? [`each ${allowed(items)}`] : []),
    ...(additionalProperties && allowed(additionalProperties) !== '' ? [`each ${allowed(additionalProperties)}`] : []),
  ].join(', ')
}

function fieldTable(fields: readonly Field[]): string {
  return table(
    ['Field', 'Type', 'Default', 'Allowed', 'Meaning'],
    fields.map(({ path, schema, needed }) => [
      code(path),
      typeOf(schema),
      schema.default === undefined ? (needed ? 'needed' : '') : code(JSON.stringify(schema.default)),
      allowed(schema),
      plain(schema.description ?? ''),
    ]),
  )
}

export function taskQueuePage(): string {
  const { spec } = parse(readFileSync(source, 'utf8'), { maxAliasCount: 1000 }) as Crd
  const [version] = spec.versions
  if (!version) throw new Error(`${source} has no version`)
  const fields = fieldsOf('', version.schema.openAPIV3Schema, false)
  const below = (root: string): Field[] => fields.filter(({ path }) => path.startsWith(`${root}.`))
  const rules = fields.flatMap(({ path, schema }) =>
    (schema['x-kubernetes-validations'] ?? []).map(
      ({ rule, message }) => `- ${path === '' ? 'The object' : code(path)}: ${plain(message)}\n\n  ${code(rule)}`,
    ),
  )
  const columns = version.additionalPrinterColumns.map(({ name, type, jsonPath, description = '', priority = 0 }) => [
    name,
    type,
    code(jsonPath),
    `${plain(description)}${priority > 0 ? ' (with `-o wide`)' : ''}`,
  ])
  return `# TaskQueue

Made from \`crds/\` by \`make generate\`. ${code(`${spec.group}/${version.name}`)}, kind ${code(spec.names.kind)}, for kubectl also ${spec.names.shortNames.map(code).join(', ')}. What the operator makes of it is in [the operator](../operator.md).

A field that is not here is refused by \`kubectl apply\`, or dropped with a warning by clients that do not ask for strict validation.

## spec

${fieldTable(below('spec'))}

## Rules

Beyond types and ranges the API server checks these, in CEL, and answers with the message.

${rules.join('\n')}

## status

${fieldTable(below('status'))}

## Columns of kubectl get

${table(['Column', 'Type', 'Of', 'Meaning'], columns)}
`
}
