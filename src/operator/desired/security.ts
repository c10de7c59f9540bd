// Security contexts that pass the restricted Pod Security Standard. An overlay may change the user; it may not loosen the rest.

import type { V1PodSecurityContext, V1SecurityContext } from '@kubernetes/client-node'

/** An id that no image is likely to give a meaning to; files of volumes belong to its group. */
const USER = 10001

export const podSecurityContext: V1PodSecurityContext = {
  runAsNonRoot: true,
  runAsUser: USER,
  runAsGroup: USER,
  fsGroup: USER,
  fsGroupChangePolicy: 'OnRootMismatch',
  seccompProfile: { type: 'RuntimeDefault' },
}

export const containerSecurityContext: V1SecurityContext = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
}
