// The lists of a pod template whose items are told apart by a field of theirs, as the Kubernetes API declares it (`patchMergeKey`).
// All other lists count as wholes.

/** The name of a list's field, and the field by which its items are known. Without a prototype: a field may have any name. */
export const listKeys: Readonly<Record<string, string | undefined>> = Object.assign(Object.create(null) as object, {
  containers: 'name',
  initContainers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  volumeDevices: 'devicePath',
  ports: 'containerPort',
  imagePullSecrets: 'name',
  hostAliases: 'ip',
  topologySpreadConstraints: 'topologyKey',
  resourceClaims: 'name',
  ownerReferences: 'uid',
})
