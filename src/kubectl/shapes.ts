// As much of the objects as is read here, as they are in JSON. The whole resource is in crds/.

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly lastTransitionTime: string
}

export interface TaskQueue {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly generation?: number }
  readonly spec: {
    readonly engine: string
    readonly suspend?: boolean
    readonly beat?: { readonly scheduler?: string }
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly workers?: string
    readonly backlog?: number
    readonly inFlight?: number
    readonly parked?: number
    readonly deadLetters?: { readonly count: number; readonly newestAt?: string }
    readonly pools?: readonly {
      readonly name: string
      readonly queues?: readonly string[]
      readonly ready: number
      readonly wanted: number
      readonly backlog?: number
      readonly busy?: number
    }[]
    readonly beat?: { readonly state?: string; readonly pod?: string; readonly nextRunTime?: string }
    readonly clock?: { readonly skew?: string }
    readonly conditions?: readonly Condition[]
  }
}

export interface Pod {
  readonly metadata: {
    readonly name: string
    readonly labels?: Readonly<Record<string, string>>
    readonly creationTimestamp: string
    readonly deletionTimestamp?: string
  }
  readonly spec: {
    readonly nodeName?: string
    readonly containers: readonly { readonly name: string }[]
    readonly initContainers?: readonly { readonly name: string }[]
  }
  readonly status?: {
    readonly phase?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    readonly containerStatuses?: readonly {
      readonly name: string
      readonly restartCount: number
      readonly ready: boolean
    }[]
    readonly initContainerStatuses?: readonly { readonly name: string; readonly ready?: boolean }[]
  }
}
