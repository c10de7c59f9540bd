import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { credentialsFrom, credentialsOf } from '../../../src/operator/kube/credentials.ts'

const folder = mkdtempSync(join(tmpdir(), 'taskqueue-credentials-'))
afterAll(() => rmSync(folder, { recursive: true }))

function kubeconfig(user: object, cluster: object = {}, more: object = {}): string {
  const path = join(folder, 'config')
  const config = {
    'current-context': 'here',
    contexts: [
      { name: 'other', context: { cluster: 'other', user: 'other' } },
      { name: 'here', context: { cluster: 'c', user: 'u' } },
    ],
    clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    ...more,
  }
  writeFileSync(path, stringify(config))
  return path
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

describe('credentials of a kubeconfig', () => {
  it('are those of the current context, with data in the file', async () => {
    const { url, headers, tls } = await credentialsFrom(
      kubeconfig(
        { 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY') },
        { 'certificate-authority-data': base64('CA'), 'tls-server-name': 'kubernetes' },
      ),
    )
    expect(url.href).toBe('https://10.0.0.1:6443/')
    expect(headers).toEqual({})
    expect(tls).toEqual({
      ca: Buffer.from('CA'),
      cert: Buffer.from('CERT'),
      key: Buffer.from('KEY'),
      servername: 'kubernetes',
    })
  })

  it('are read from files that stand beside it', async () => {
    writeFileSync(join(folder, 'ca.crt'), 'CA')
    writeFileSync(join(folder, 'token'), 'secret\n')
    const { headers, tls } = await credentialsFrom(
      kubeconfig({ tokenFile: 'token', token: 'older' }, { 'certificate-authority': 'ca.crt' }),
    )
    expect(headers).toEqual({ authorization: 'Bearer secret' })
    expect(tls).toEqual({ ca: Buffer.from('CA') })
  })

  it('may be a token, or a name and password, and no check of the server', async () => {
    expect((await credentialsFrom(kubeconfig({ token: 't' }))).headers).toEqual({ authorization: 'Bearer t' })
    const basic = await credentialsFrom(
      kubeconfig({ username: 'a', password: 'b' }, { 'insecure-skip-tls-verify': true }),
    )
    expect(basic.headers).toEqual({ authorization: `Basic ${base64('a:b')}` })
    expect(basic.tls).toEqual({ rejectUnauthorized: false })
  })

  it('take what is empty for absent, and a number for a text', async () => {
    const { headers, tls } = await credentialsFrom(
      kubeconfig(
        { token: '', tokenFile: '', 'client-key': '', 'client-certificate-data': '', username: 'a', password: 12345 },
        { 'certificate-authority-data': '' },
      ),
    )
    expect(headers).toEqual({ authorization: `Basic ${base64('a:12345')}` })
    expect(tls).toEqual({})
  })

  it('act as whom the user says', async () => {
    const { headers } = await credentialsFrom(kubeconfig({ token: 't', as: 'somebody' }))
    expect(headers).toMatchObject({ 'Impersonate-User': 'somebody' })
  })

  it('are asked of a program, where one is named', async () => {
    const program = join(folder, 'login')
    const answer = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 'from-program' },
    }
    writeFileSync(program, `#!/bin/sh\necho '${JSON.stringify(answer)}'\n`)
    chmodSync(program, 0o755)
    const exec = { apiVersion: answer.apiVersion, command: program, interactiveMode: 'Never' }
    const { headers } = await credentialsFrom(kubeconfig({ exec }))
    expect(Object.values(headers)).toEqual(['Bearer from-program'])
  })

  it.each([
    ['no such file', () => join(folder, 'missing'), /missing can not be read/],
    ['no YAML', () => (writeFileSync(join(folder, 'bad'), 'a: [b'), join(folder, 'bad')), /bad is no YAML/],
    ['a list', () => (writeFileSync(join(folder, 'list'), '- a'), join(folder, 'list')), /no current context/],
    [
      'a context that is not there',
      () => kubeconfig({}, {}, { 'current-context': 'gone' }),
      /current-context is "gone"\): choose one/,
    ],
    ['a server that is no URL', () => kubeconfig({}, { server: 'nowhere' }), /"nowhere", which is no URL/],
    ['a file that is gone', () => kubeconfig({ 'client-key': 'gone.key' }), /names gone\.key, which can not be read/],
  ])('say what is wrong with %s', async (_, make, message) => {
    await expect(credentialsFrom(make())).rejects.toMatchObject({ code: 'SettingInvalid' })
    await expect(credentialsFrom(make())).rejects.toThrow(message)
  })
})

describe('credentials of the environment', () => {
  it('are those that KUBECONFIG names', async () => {
    const { headers } = await credentialsOf({ KUBECONFIG: kubeconfig({ token: 'named' }) })
    expect(headers).toEqual({ authorization: 'Bearer named' })
  })

  it('are merged by the library where KUBECONFIG names several files', async () => {
    const first = join(folder, 'first')
    writeFileSync(first, stringify({ apiVersion: 'v1', kind: 'Config', 'current-context': 'here' }))
    const before = process.env.KUBECONFIG
    process.env.KUBECONFIG = `${first}:${kubeconfig({ token: 'merged' })}`
    try {
      const { headers } = await credentialsOf(process.env)
      expect(Object.values(headers)).toEqual(['Bearer merged'])
    } finally {
      if (before === undefined) delete process.env.KUBECONFIG
      else process.env.KUBECONFIG = before
    }
  })
})
