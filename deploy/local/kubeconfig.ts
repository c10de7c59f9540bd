// Kubeconfig files with everything inside, so that one file can be handed on. Not a reader of kubeconfigs.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { KeyPair } from './pki.ts'

/** What a kubeconfig says. */
export interface KubeconfigContent {
  /** Name of its cluster, user and context. */
  readonly name: string
  readonly server: string
  readonly authority: Buffer
  readonly certificate: Buffer
  readonly key: Buffer
}

/** The text of a kubeconfig with one cluster, one user and one context. */
export function renderKubeconfig(content: KubeconfigContent): string {
  const { name, server } = content
  return `apiVersion: v1
kind: Config
current-context: ${name}
clusters:
- name: ${name}
  cluster:
    server: ${server}
    certificate-authority-data: ${content.authority.toString('base64')}
users:
- name: ${name}
  user:
    client-certificate-data: ${content.certificate.toString('base64')}
    client-key-data: ${content.key.toString('base64')}
contexts:
- name: ${name}
  context:
    cluster: ${name}
    user: ${name}
`
}

/** Writes a kubeconfig that only its owner may read; a reader sees the old file or the new one. */
export function writeKubeconfig(file: string, name: string, server: string, authority: string, pair: KeyPair): void {
  const content = {
    name,
    server,
    authority: readFileSync(authority),
    certificate: readFileSync(pair.certificate),
    key: readFileSync(pair.key),
  }
  writeFileSync(`${file}.new`, renderKubeconfig(content), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
