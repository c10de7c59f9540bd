// The daemon that keeps the pool of local volumes full: it looks every two seconds, wipes folders whose claim is gone and offers them
// again. Run inside the cluster's namespaces by `up`; its arguments are the server's URL, the folder of the certificates, the pool's
// folder, the node's name and the number of volumes.
import { chmodSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { persistentVolume, planRecycling, poolLabel, type SeenVolume, type VolumePool } from './volumes.ts'

interface VolumeList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string }
    readonly status?: { readonly phase?: string }
  }[]
}

const [server = '', certificates = '', folder = '', nodeName = '', count = ''] = process.argv.slice(2)
const pool: VolumePool = { folder, nodeName, count: Number(count) }
const agent = new Agent({
  keepAlive: true,
  maxSockets: 1,
  ca: readFileSync(join(certificates, 'ca.crt')),
  cert: readFileSync(join(certificates, 'recycler.crt')),
  key: readFileSync(join(certificates, 'recycler.key')),
})

function call(method: string, path: string, body?: object): Promise<string> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const headers =
    text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  return new Promise((resolve, reject) => {
    const asked = request(`${server}${path}`, { method, agent, headers, timeout: 10_000 }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const answer = Buffer.concat(chunks).toString('utf8')
        const status = response.statusCode ?? 0
        if (status >= 200 && status < 300) resolve(answer)
        else reject(new Error(`${method} ${path}: ${status} ${answer.slice(0, 300)}`))
      })
    })
    asked.on('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer in 10 s`)))
    asked.on('error', reject)
    asked.end(text)
  })
}

async function look(): Promise<SeenVolume[]> {
  const selector = encodeURIComponent(`${poolLabel}=true`)
  const list = JSON.parse(await call('GET', `/api/v1/persistentvolumes?labelSelector=${selector}`)) as VolumeList
  return list.items.map(({ metadata, status }) => ({
    name: metadata.name,
    phase: status?.phase ?? 'Pending',
    deleting: metadata.deletionTimestamp !== undefined,
  }))
}

async function recycle(): Promise<void> {
  const { remove, make } = planRecycling(pool, await look())
  for (const name of remove) {
    await call('DELETE', `/api/v1/persistentvolumes/${name}`)
    console.log(`${new Date().toISOString()} ${name}: its claim is gone, the volume is deleted`)
  }
  for (const name of make) {
    // No volume object leads to this folder any more, so no pod can have it mounted.
    rmSync(join(folder, name), { recursive: true, force: true })
    mkdirSync(join(folder, name), { recursive: true })
    // Only root may write until the kubelet hands the folder to a pod's fsGroup.
    chmodSync(join(folder, name), 0o755)
    await call('POST', '/api/v1/persistentvolumes', persistentVolume(pool, name))
    console.log(`${new Date().toISOString()} ${name}: wiped and offered`)
  }
}

for (;;) {
  try {
    await recycle()
  } catch (error) {
    // The API server may be on its way up or down; the next look sees what is left to do.
    console.error(`${new Date().toISOString()} ${error instanceof Error ? error.message : String(error)}`)
  }
  await delay(2000)
}
