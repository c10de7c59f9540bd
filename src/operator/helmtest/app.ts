// The app of `helm test`: one task that says that it ran. Not an example: those are in deploy/examples.

import { TaskApp } from '@taskqueue/runtime'

export const ECHO = 'helmtest.echo'
export const app = new TaskApp({ name: 'helm-test' })

app.task(ECHO, (_, text: string) => Promise.resolve(text))
