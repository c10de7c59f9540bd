// A fresh API server for one measurement: real etcd (without fsync) and kube-apiserver, no controllers, no kubelet, so that nobody
// makes or changes anything but who is measured. Not the fixture of the tests, whose cluster has controllers.
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import { startApiServer, type ApiServer } from '../../deploy/local/apiserver.ts'
import { writeKubeconfig } from '../../deploy/local/kubeconfig.ts'
import { CertificateAuthority } from '../../deploy/local/pki.ts'
import { systemClock } from '../../src/operator/clock.ts'
import { KubeClient } from '../../src/operator/kube/client.ts'
import { pathOf, taskQueues } from '../../src/operator/kube/resources.ts'
import { eventually } from '../../test/fixtures/eventually.ts'
import { AuditLog } from './audit.ts'
import { Wire } from './wire.ts'

export const NAMESPACE = 'bench'
/** Who is measured asks with the priority that service accounts have. */
const GROUP = 'system:serviceaccounts'

const crdFile = join(import.meta.dirname, '../../crds/taskqueues.taskqueue.dev.yaml')

export class Plane {
  readonly server: ApiServer
  readonly folder: string
  /** With every right, and not measured. */
  readonly client: KubeClient
  readonly audit: AuditLog

  private constructor(server: ApiServer, folder: string) {
    this.server = server
    this.folder = folder
    this.client = KubeClient.fromFile(server.kubeconfig, systemClock, 'bench')
    this.audit = new AuditLog(server.auditLog)
  }

  /** Starts it, with the CRD and the namespace. */
  static async start(): Promise<Plane> {
    const folder = await mkdtemp(join(tmpdir(), 'taskqueue-bench-'))
    const plane = new Plane(await startApiServer({ folder }), folder)
    const { client } = plane
    const crd = parse(readFileSync(crdFile, 'utf8'), { maxAliasCount: 1000 }) as unknown
    await client.json('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body: crd })
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }
    await client.json('POST', '/api/v1/namespaces', { body: namespace })
    const binding = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'bench' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: GROUP }],
    }
    await client.json('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', { body: binding })
    await eventually(() => client.json('GET', pathOf(taskQueues, NAMESPACE)))
    return plane
  }

  /** A kubeconfig of a user whose requests the audit log then tells from others'. */
  async kubeconfigOf(user: string): Promise<string> {
    const { pair, authority } = await this.#issue(user)
    const file = join(this.folder, `${user}.kubeconfig`)
    writeKubeconfig(file, 'bench', this.server.url, authority, pair)
    return file
  }

  /** Bare connections of a user. */
  async wireOf(user: string, connections: number): Promise<Wire> {
    const { pair, authority } = await this.#issue(user)
    const [ca, cert, key] = [authority, pair.certificate, pair.key].map((file) => readFileSync(file))
    return new Wire(this.server.url, { ca, cert, key }, connections)
  }

  async #issue(user: string): Promise<{ pair: { certificate: string; key: string }; authority: string }> {
    const pki = await CertificateAuthority.open(join(this.folder, 'pki'))
    const pair = await pki.issue({ name: `bench-${user}`, commonName: user, organization: GROUP })
    return { pair, authority: pki.authority.certificate }
  }

  async stop(): Promise<void> {
    this.client.close()
    await this.server.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}
