// Keys and certificates of one cluster, made by the openssl command. Elliptic curves only, so that all of them take a moment.
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.ts'

/** Paths of a key and its certificate. */
export interface KeyPair {
  readonly key: string
  readonly certificate: string
}

/** Who a certificate names and what it is good for. */
export interface CertificateRequest {
  /** Base name of the two files. */
  readonly name: string
  readonly commonName: string
  /** Kubernetes reads it as a group. */
  readonly organization?: string
  /** `IP:127.0.0.1` or `DNS:localhost`; for servers. */
  readonly alternativeNames?: readonly string[]
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** One certificate authority and what it has issued, in one folder that only its owner may read. */
export class CertificateAuthority {
  readonly folder: string
  readonly authority: KeyPair

  private constructor(folder: string) {
    this.folder = folder
    this.authority = { key: join(folder, 'ca.key'), certificate: join(folder, 'ca.crt') }
  }

  /** Opens the authority in `folder`; makes a new one, good for ten years, when there is none. */
  static async open(folder: string): Promise<CertificateAuthority> {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const opened = new CertificateAuthority(folder)
    const { key, certificate } = opened.authority
    if (existsSync(certificate)) return opened
    const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature']
    await run('openssl', [
      ...['req', '-x509', ...curve, '-days', '3650', '-subj', '/CN=taskqueue-local-ca'],
      ...extensions.flatMap((each) => ['-addext', each]),
      ...['-keyout', key, '-out', certificate],
    ])
    return opened
  }

  /** Issues a certificate, good for a year, unless the folder has it already. */
  async issue(request: CertificateRequest): Promise<KeyPair> {
    const pair = {
      key: join(this.folder, `${request.name}.key`),
      certificate: join(this.folder, `${request.name}.crt`),
    }
    if (existsSync(pair.certificate)) return pair
    const names = request.alternativeNames ?? []
    const extensions = [
      'basicConstraints=critical,CA:FALSE',
      'keyUsage=critical,digitalSignature',
      names.length > 0 ? 'extendedKeyUsage=serverAuth,clientAuth' : 'extendedKeyUsage=clientAuth',
      ...(names.length > 0 ? [`subjectAltName=${names.join(',')}`] : []),
    ]
    const organization = request.organization ? `/O=${request.organization}` : ''
    await run('openssl', [
      ...['req', '-x509', ...curve, '-days', '365', '-subj', `${organization}/CN=${request.commonName}`],
      ...['-CA', this.authority.certificate, '-CAkey', this.authority.key],
      ...extensions.flatMap((each) => ['-addext', each]),
      ...['-keyout', pair.key, '-out', pair.certificate],
    ])
    return pair
  }

  /** The key that signs service account tokens; its certificate is not used. */
  async signingKey(): Promise<string> {
    const key = join(this.folder, 'service-accounts.key')
    // ecparam writes the older form, which the API server reads as a public key as well.
    if (!existsSync(key)) await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key])
    return key
  }
}
