// What every log line says of where it comes from, and what none may say. Pure, and without a logger: the companion has none.
import { hostname } from 'node:os'

/** Where a line comes from. */
export interface PlaceFields {
  /** The TaskQueue, from TASKQUEUE_NAME. */
  readonly taskqueue?: string
  /** Its namespace, from TASKQUEUE_NAMESPACE. */
  readonly namespace?: string
  /** The pod's name; absent outside of Kubernetes. */
  readonly pod?: string
}

/** The fields of every line of this process, as its environment has them. */
export function placeFields(env: Readonly<Record<string, string | undefined>>, host = hostname()): PlaceFields {
  const { TASKQUEUE_NAME: taskqueue, TASKQUEUE_NAMESPACE: namespace, KUBERNETES_SERVICE_HOST: cluster } = env
  return {
    ...(taskqueue ? { taskqueue } : {}),
    ...(namespace ? { namespace } : {}),
    ...(cluster ? { pod: host } : {}),
  }
}

/** A user's name and a password in a URL, up to the last @ before a space or a quote. */
const USERINFO = /([a-z][a-z0-9+.-]*:\/\/[^\s:/@"'\\]*):[^\s"']*@/gi
const SECRET_PARAMETER = /([?&](?:password|secret|token)=)[^&\s"'\\]+/gi

/** A line, or any text, with the passwords of the URLs in it as `***`. */
export function redactSecrets(text: string): string {
  if (!text.includes('://')) return text
  return text.replace(USERINFO, '$1:***@').replace(SECRET_PARAMETER, '$1***')
}
