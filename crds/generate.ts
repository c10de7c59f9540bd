// Generates from the CRD, the one source of the schema: the TypeScript types of a TaskQueue, its defaults and the chart's copy of the CRD.
// `--check` writes nothing and exits 1 when one of them is stale. Not part of any package.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { compile, type JSONSchema } from 'json-schema-to-typescript'
import { format, resolveConfig } from 'prettier'
import { parse, stringify } from 'yaml'
import { writeOrCheck } from '../deploy/generated.ts'
import type { Defaults } from '../src/operator/defaulted.ts'

const root = join(import.meta.dirname, '..')
const source = join(root, 'crds/taskqueues.taskqueue.dev.yaml')
const typesPath = join(root, 'src/operator/taskqueue.ts')
const defaultsPath = join(root, 'src/operator/defaults.ts')
const chartPath = join(root, 'charts/taskqueue-operator/templates/crd.yaml')

interface Schema {
  type?: string
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: Schema | boolean
  required?: string[]
  default?: unknown
  'x-kubernetes-preserve-unknown-fields'?: boolean
  [key: string]: unknown
}

interface Crd {
  metadata: { name: string; annotations?: Record<string, string> }
  spec: { versions: { name: string; schema: { openAPIV3Schema: Schema } }[] }
}

/** The schema as JSON Schema of what the API server hands out: fields with a default are always there. */
function toJsonSchema(schema: Schema): Schema {
  const properties = schema.properties && Object.entries(schema.properties)
  const required = new Set(schema.required ?? [])
  for (const [name, property] of properties ?? []) if (property.default !== undefined) required.add(name)
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true
  return {
    ...(schema.type ? { type: schema.type } : {}),
    ...(typeof schema.description === 'string' ? { description: schema.description } : {}),
    ...(schema.enum ? { enum: schema.enum } : {}),
    ...(properties
      ? { properties: Object.fromEntries(properties.map(([name, property]) => [name, toJsonSchema(property)])) }
      : {}),
    ...(schema.items ? { items: toJsonSchema(schema.items) } : {}),
    ...(required.size > 0 ? { required: [...required] } : {}),
    additionalProperties:
      typeof schema.additionalProperties === 'object' ? toJsonSchema(schema.additionalProperties) : open,
  }
}

async function types(crd: Crd): Promise<string> {
  const schema = crd.spec.versions[0]?.schema.openAPIV3Schema
  const { spec, status } = schema?.properties ?? {}
  if (!spec || !status) throw new Error(`${source} has no schema with spec and status in its first version.`)
  const whole = {
    type: 'object',
    properties: { spec: toJsonSchema(spec), status: toJsonSchema(status) },
    required: ['spec'],
    additionalProperties: false,
  } as JSONSchema
  const body = await compile(whole, 'TaskQueueBody', {
    bannerComment: '',
    format: false,
    unknownAny: true,
    ignoreMinAndMaxItems: true,
  })
  const text = `// The TaskQueue resource as the API server hands it out, defaults filled in. Generated from crds/ by \`make generate\`: do not edit.

import type { KubeObject } from './objects.ts'

export interface TaskQueue extends KubeObject, TaskQueueBody {}

${body}
export type TaskQueueSpec = TaskQueueBody['spec']
export type TaskQueueStatus = NonNullable<TaskQueueBody['status']>
export type WorkerPool = NonNullable<TaskQueueSpec['workers']>[number]
export type BeatSpec = NonNullable<TaskQueueSpec['beat']>
export type Schedule = NonNullable<BeatSpec['schedules']>[number]
export type PodTemplateOverlay = NonNullable<TaskQueueSpec['podTemplate']>
`
  return format(text, { ...(await resolveConfig(typesPath)), parser: 'typescript' })
}

/** Of the schema what has a default, and the way there; undefined where nothing has. */
function defaultsOf(schema: Schema): Defaults | undefined {
  const entries = Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const found = defaultsOf(property)
    return found ? [[name, found] as const] : []
  })
  const items = schema.items && defaultsOf(schema.items)
  const found = {
    ...(schema.default === undefined ? {} : { default: schema.default }),
    ...(entries.length > 0 ? { properties: Object.fromEntries(entries) } : {}),
    ...(items ? { items } : {}),
  }
  return Object.keys(found).length > 0 ? found : undefined
}

async function defaults(crd: Crd): Promise<string> {
  const spec = crd.spec.versions[0]?.schema.openAPIV3Schema.properties?.['spec']
  const text = `// The defaults of the TaskQueue resource. Generated from crds/ by \`make generate\`: do not edit. Who fills them in is defaulted.ts.

import type { Defaults } from './defaulted.ts'

export const specDefaults: Defaults = ${JSON.stringify((spec && defaultsOf(spec)) ?? {})}
`
  return format(text, { ...(await resolveConfig(defaultsPath)), parser: 'typescript' })
}

/** Helm never upgrades what is in a chart's crds/ folder, so the CRD is a template, kept on uninstall unless told otherwise. */
function chartTemplate(crd: Crd): string {
  const { metadata, ...rest } = crd
  const yaml = stringify({ ...rest, metadata: { name: metadata.name } }, { lineWidth: 0, aliasDuplicateObjects: false })
  if (yaml.includes('{{')) throw new Error(`${source} contains "{{", which Helm would take for a template.`)
  const withLabels = yaml.replace(
    `  name: ${metadata.name}\n`,
    `  name: ${metadata.name}
  labels:
    {{- include "taskqueue-operator.labels" . | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
`,
  )
  return `{{- /* Generated from crds/ by "make generate": do not edit. */}}
{{- if .Values.crds.install }}
${withLabels}{{- end }}
`
}

const crd = parse(readFileSync(source, 'utf8'), { maxAliasCount: 1000 }) as Crd
writeOrCheck([
  { path: typesPath, text: await types(crd) },
  { path: defaultsPath, text: await defaults(crd) },
  { path: chartPath, text: chartTemplate(crd) },
])
