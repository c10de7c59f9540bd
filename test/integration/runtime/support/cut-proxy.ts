// A TCP proxy in front of Redis that can lose replies: the server executes, the client never hears of it.
import { startTcpProxy } from '../../../fixtures/tcp-proxy.ts'

export interface CutProxy {
  readonly url: string
  /** Connections made so far. */
  connections(): number
  /**
   * Arms the cut: on the next request that holds `text` the request is passed on, everything the server says afterwards is
   * dropped, and the connection is broken once the server has answered.
   */
  cutReplyTo(text: string): Promise<void>
  /** Passes nothing on any more, and says nothing: a host that is gone without a FIN. */
  freeze(): void
  thaw(): void
  close(): Promise<void>
}

export async function startCutProxy(redisPort: number): Promise<CutProxy> {
  let armed: { text: string; done: () => void } | undefined
  let frozen = false
  const { port, connections, cut, close } = await startTcpProxy(redisPort, ({ client, upstream }) => {
    let dropping: (() => void) | undefined
    client.on('data', (chunk) => {
      if (frozen) return
      if (armed && chunk.includes(armed.text)) {
        dropping = armed.done
        armed = undefined
      }
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (frozen) return
      if (!dropping) return void client.write(chunk)
      dropping()
      client.destroy()
      upstream.destroy()
    })
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
  })
  return {
    url: `redis://127.0.0.1:${port}/0`,
    connections,
    close,
    cutReplyTo: (text) =>
      new Promise((done) => {
        armed = { text, done }
      }),
    freeze: () => {
      frozen = true
    },
    thaw: () => {
      // What was swallowed meanwhile is lost, so nothing that was open can go on.
      cut()
      frozen = false
    },
  }
}
