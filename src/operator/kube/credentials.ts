// Where the API server is and who we are to it: from the pod's service account or a kubeconfig. What is plain is read here, since
// importing @kubernetes/client-node costs 80 MiB; what runs a program or asks a provider is left to it, and it is imported only then.

import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, dirname, resolve } from 'node:path'
import type { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { OperatorError, messageOf } from '../errors.ts'

/** One API server and the means to be known there. */
export interface Credentials {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly tls: Tls
}

interface Tls {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly rejectUnauthorized?: false
  readonly servername?: string
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** In kubectl's order: `KUBECONFIG`, `~/.kube/config`, the pod's service account. @throws OperatorError `SettingInvalid` */
export async function credentialsOf(env: NodeJS.ProcessEnv): Promise<Credentials> {
  const named = (env.KUBECONFIG ?? '').split(delimiter).filter((file) => file !== '')
  // Files that are merged are left to the library.
  if (named.length > 1) return byLibrary((config) => config.loadFromDefault(), undefined)
  if (named[0] !== undefined) return credentialsFrom(named[0])
  const own = resolve(homedir(), '.kube/config')
  const text = await read(own)
  return text === undefined ? ofServiceAccount(env) : inKubeconfig(text, own)
}

/** From the current context of a kubeconfig. @throws OperatorError `SettingInvalid` */
export async function credentialsFrom(path: string): Promise<Credentials> {
  const text = await read(path)
  if (text === undefined) throw invalid(`The kubeconfig ${path} can not be read: give the path of one in KUBECONFIG.`)
  return inKubeconfig(text, path)
}

async function inKubeconfig(text: Buffer, path: string): Promise<Credentials> {
  const { cluster, user } = contextOf(text.toString('utf8'), path)
  const needsLibrary = [user.exec, user['auth-provider'], user.as, cluster['proxy-url']].some(
    (each) => each !== undefined,
  )
  if (needsLibrary) return byLibrary((config) => config.loadFromFile(path), path)
  const [ca, cert, key, token] = await Promise.all([
    given(path, cluster, 'certificate-authority'),
    given(path, user, 'client-certificate'),
    given(path, user, 'client-key'),
    tokenOf(path, user),
  ])
  const serverName = said(cluster['tls-server-name'])
  return {
    url: urlOf(cluster.server, `cluster.server of ${path}`),
    headers: authorization(token, user),
    tls: {
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
      ...(cluster['insecure-skip-tls-verify'] === true && { rejectUnauthorized: false }),
      ...(serverName !== undefined && { servername: serverName }),
    },
  }
}

async function ofServiceAccount({
  KUBERNETES_SERVICE_HOST: host,
  KUBERNETES_SERVICE_PORT: port = '443',
}: NodeJS.ProcessEnv): Promise<Credentials> {
  const [token, ca] = await Promise.all([read(`${SERVICE_ACCOUNT}/token`), read(`${SERVICE_ACCOUNT}/ca.crt`)])
  if (host === undefined || host === '' || !token)
    throw invalid(
      'No cluster is configured: run in a pod with a service account, or set KUBECONFIG to a kubeconfig with a current context.',
    )
  const url = urlOf(`https://${host.includes(':') ? `[${host}]` : host}:${port}`, 'KUBERNETES_SERVICE_HOST and _PORT')
  return { url, headers: bearer(token.toString('utf8').trim()), tls: ca ? { ca } : {} }
}

type Fields = Readonly<Record<string, unknown>>

function contextOf(text: string, path: string): { cluster: Fields; user: Fields } {
  const config = fields(parsed(text, path))
  const named = (list: unknown, name: unknown, part: string): Fields => {
    const found = (Array.isArray(list) ? list : []).map(fields).find((each) => each.name === name)
    return fields(found?.[part])
  }
  const current = config['current-context']
  const context = named(config.contexts, current, 'context')
  const cluster = named(config.clusters, context.cluster, 'cluster')
  if (typeof cluster.server !== 'string')
    throw invalid(
      `The kubeconfig ${path} has no current context with a cluster (current-context is ${JSON.stringify(current ?? '')}): choose one with kubectl config use-context.`,
    )
  return { cluster, user: named(config.users, context.user, 'user') }
}

function parsed(text: string, path: string): unknown {
  try {
    return parse(text)
  } catch (error) {
    throw invalid(`The kubeconfig ${path} is no YAML: ${messageOf(error)}`)
  }
}

/** A value that stands in the file (`NAME-data`), or in another that it names, from where the kubeconfig is. */
async function given(path: string, from: Fields, name: string): Promise<Buffer | undefined> {
  const data = said(from[`${name}-data`])
  if (data !== undefined) return Buffer.from(data, 'base64')
  const file = said(from[name])
  if (file === undefined) return undefined
  return read(resolve(dirname(path), file)).then((bytes) => {
    if (!bytes) throw invalid(`${name} of the kubeconfig ${path} names ${file}, which can not be read.`)
    return bytes
  })
}

async function tokenOf(path: string, user: Fields): Promise<string | undefined> {
  if (said(user.tokenFile) === undefined) return said(user.token)
  const bytes = await given(path, user, 'tokenFile')
  return bytes?.toString('utf8').trim()
}

function authorization(token: string | undefined, { username, password }: Fields): Record<string, string> {
  if (token !== undefined) return bearer(token)
  const [name, word] = [said(username), said(password)]
  if (name === undefined || word === undefined) return {}
  return { authorization: `Basic ${Buffer.from(`${name}:${word}`).toString('base64')}` }
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` }
}

async function byLibrary(load: (config: KubeConfig) => void, path: string | undefined): Promise<Credentials> {
  const library = await import('@kubernetes/client-node')
  const config = new library.KubeConfig()
  load(config)
  const server = config.getCurrentCluster()?.server
  const options: LibraryOptions = {}
  await config.applyToHTTPSOptions(options)
  const { ca, cert, key, headers = {}, rejectUnauthorized } = options
  return {
    url: urlOf(server, `cluster.server of ${path ?? 'KUBECONFIG'}`),
    headers,
    tls: {
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
      ...(rejectUnauthorized === false && { rejectUnauthorized }),
    },
  }
}

/** What the library fills in; its agent is not used, since it is a new one for every request. */
interface LibraryOptions {
  ca?: Buffer
  cert?: Buffer
  key?: Buffer
  rejectUnauthorized?: boolean
  headers?: Record<string, string>
}

function urlOf(text: unknown, where: string): URL {
  if (typeof text === 'string' && URL.canParse(text)) return new URL(text)
  throw invalid(`${where} is ${JSON.stringify(text ?? '')}, which is no URL: give one such as https://host:6443.`)
}

/** A text that is there: an empty one is none, and YAML makes numbers of some. */
function said(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value !== '' ? value : undefined
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}

async function read(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch(() => undefined)
}

function invalid(message: string): OperatorError {
  return new OperatorError('SettingInvalid', message)
}
