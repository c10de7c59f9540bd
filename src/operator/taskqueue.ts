// The TaskQueue resource as the API server hands it out, defaults filled in. Generated from crds/ by `make generate`: do not edit.

import type { KubeObject } from './objects.ts'

export interface TaskQueue extends KubeObject, TaskQueueBody {}

export interface TaskQueueBody {
  /**
   * What should run.
   */
  spec: {
    /**
     * What executes the tasks. Node runs the module app with @taskqueue/runtime, Celery runs "celery -A app worker".
     */
    engine: 'Node' | 'Celery'
    /**
     * The image of the workers, and of a Celery beat.
     */
    image?: string
    /**
     * Left out, Kubernetes' own default applies (Always for the tag latest, else IfNotPresent).
     */
    imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never'
    imagePullSecrets?: {
      name: string
    }[]
    /**
     * The module that a Node worker loads, or the -A of a Celery worker.
     */
    app?: string
    /**
     * Test sends every publish of the app, of beat and of retries to the default queue.
     */
    environment: 'Production' | 'Test'
    /**
     * Drains the workers to none and stops beat; its volume stays.
     */
    suspend: boolean
    /**
     * Where the queues live.
     */
    broker: {
      /**
       * A URL without a password.
       */
      url?: string
      /**
       * A key of a Secret in the same namespace that holds the URL.
       */
      urlFrom?: {
        secretKeyRef: {
          name: string
          key: string
        }
      }
      /**
       * How long the broker's record of an unacknowledged message lasts before any worker may take it back, in seconds.
       */
      visibilityTimeoutSeconds: number
    }
    /**
     * Where results are stored. The broker's URL when neither url nor urlFrom is given.
     */
    results: {
      /**
       * A URL without a password.
       */
      url?: string
      /**
       * A key of a Secret in the same namespace that holds the URL.
       */
      urlFrom?: {
        secretKeyRef: {
          name: string
          key: string
        }
      }
      /**
       * How long a result is kept, in seconds.
       */
      ttlSeconds: number
    }
    /**
     * Defaults of every task of a Node app. A task's own options win.
     */
    taskDefaults?: {
      /**
       * The queue of a task that names none.
       */
      queue: string
      /**
       * Acknowledge after the handler ends rather than before it begins.
       */
      acksLate: boolean
      maxRetries: number
      /**
       * The first pause before a retry. It doubles with each.
       */
      retryBackoffSeconds: number
      /**
       * A publish above this is refused.
       */
      maxPayloadBytes: number
    }
    /**
     * Worker pools. Each becomes one Deployment, named <taskqueue>-<pool>.
     */
    workers?: {
      name: string
      /**
       * The queues that the pool takes from. Left out, the default queue.
       */
      queues?: string[]
      /**
       * How many tasks a pod runs at once.
       */
      concurrency: number
      /**
       * A fixed number of pods.
       */
      replicas?: number
      /**
       * Pods by backlog. The number follows what waits and what is in flight.
       */
      autoscale?: {
        minReplicas: number
        maxReplicas: number
        backlogPerReplica: number
        cooldownSeconds: number
      }
      /**
       * The longest that a task of this pool may take. The grace period on shutdown follows from it, and a worker all of whose slots are held for longer is restarted.
       */
      maxTaskSeconds: number
      /**
       * By what the kubelet probes a Celery worker. Companion asks the sidecar, Exec runs "celery inspect ping" (a second of CPU each time, and a broker that is away ends the worker), None asks nothing.
       */
      probe: 'Companion' | 'Exec' | 'None'
      /**
       * As in a container.
       */
      resources?: {
        [k: string]: unknown
      }
      /**
       * An overlay on the pod template, merged the way kubectl merges (lists by their keys).
       */
      podTemplate?: {
        metadata?: {
          labels?: {
            [k: string]: string
          }
          annotations?: {
            [k: string]: string
          }
        }
        spec?: {
          [k: string]: unknown
        }
      }
    }[]
    /**
     * An overlay on the pod template, merged the way kubectl merges (lists by their keys).
     */
    podTemplate?: {
      metadata?: {
        labels?: {
          [k: string]: string
        }
        annotations?: {
          [k: string]: string
        }
      }
      spec?: {
        [k: string]: unknown
      }
    }
    /**
     * The one beat Pod, <taskqueue>-beat. Left out, there is none.
     */
    beat?: {
      /**
       * Declared runs the schedules below, fenced; Celery runs "celery beat"; Command runs any program.
       */
      scheduler: 'Declared' | 'Celery' | 'Command'
      /**
       * Another image for a Celery or Command beat.
       */
      image?: string
      command?: string[]
      /**
       * An IANA time zone in which cron lines are read.
       */
      timeZone: string
      schedules?: {
        name: string
        task: string
        /**
         * Five fields, or six with seconds first.
         */
        cron?: string
        /**
         * An interval, anchored to the epoch.
         */
        everySeconds?: number
        /**
         * Once, at an ISO-8601 instant with an offset, such as 2026-01-31T09:00:00+08:00.
         */
        at?: string
        /**
         * Each slot is put off by up to so many seconds, the same for the same slot.
         */
        jitterSeconds?: number
        queue?: string
        args?: {
          [k: string]: unknown
        }[]
        kwargs?: {
          [k: string]: unknown
        }
        /**
         * How late a slot may still be dispatched, in seconds.
         */
        misfireGraceSeconds: number
        /**
         * Which of the slots missed in a downtime are dispatched afterwards.
         */
        catchUp: 'Last' | 'All' | 'None'
      }[]
      /**
       * The volume of the schedule file; it survives the Pod.
       */
      storage: {
        size: string
        storageClassName?: string
        /**
         * What becomes of the volume claim when the TaskQueue is deleted.
         */
        whenDeleted: 'Delete' | 'Retain'
      }
      /**
       * As in a container.
       */
      resources?: {
        [k: string]: unknown
      }
      /**
       * An overlay on the pod template, merged the way kubectl merges (lists by their keys).
       */
      podTemplate?: {
        metadata?: {
          labels?: {
            [k: string]: string
          }
          annotations?: {
            [k: string]: string
          }
        }
        spec?: {
          [k: string]: unknown
        }
      }
    }
    clockSync: {
      /**
       * Monitor measures. Discipline measures too and reads what the node's chronyd says of its corrections; the chart brings one to each node with policy.allowDiscipline. Off measures nothing.
       */
      mode: 'Monitor' | 'Discipline' | 'Off'
      /**
       * NTP servers, each as name, name:port or [IPv6]:port. Left out, clocks are compared with the broker alone. Give three or more, so that one that lies is outvoted.
       */
      servers?: string[]
      maxSkewSeconds: number
      /**
       * What follows beyond maxSkewSeconds: a condition, or a Declared beat that also fires nothing until the clocks agree again.
       */
      onSkew: 'Report' | 'HoldBeat'
    }
    /**
     * Lets nobody reach the pods but for probes and metrics.
     */
    networkPolicy: {
      enabled: boolean
    }
    /**
     * A PodMonitor of the Prometheus operator for all pods.
     */
    podMonitor: {
      enabled: boolean
      /**
       * By which your Prometheus selects it, for example release prometheus.
       */
      labels?: {
        [k: string]: string
      }
    }
    /**
     * Looks for what fails in silence, as "taskqueue patrol" does. What it finds is in conditions, Events, status.patrol and metrics.
     */
    patrol: {
      /**
       * A queue with a consumer that has no traffic for so long is told, as a notice.
       */
      idleQueueSeconds: number
      /**
       * For so long workers may take nothing from a queue beside free slots while messages wait in it. A Celery worker whose rate limit allows less than one task in this time looks like it.
       */
      stalledSeconds: number
      /**
       * Replace pods whose workers are stalled, one at a time and never while the broker is away; and let the companion's probe restart a Celery worker beside which tasks wait.
       */
      restartStalled: boolean
    }
  }
  /**
   * What is there. Written by the operator.
   */
  status?: {
    /**
     * The generation of the spec that this status speaks of.
     */
    observedGeneration?: number
    /**
     * Ready and wanted worker pods, for example 3/4.
     */
    workers?: string
    /**
     * Messages waiting in the queues of all pools; absent while the broker can not be asked.
     */
    backlog?: number
    /**
     * Messages taken and not yet settled.
     */
    inFlight?: number
    /**
     * Messages waiting for their time (eta or retry).
     */
    parked?: number
    /**
     * Tasks that ended as dead letters, over all queues of the broker; absent while it can not be asked. Read every 30 s.
     */
    deadLetters?: {
      count: number
      /**
       * When the newest of them died.
       */
      newestAt?: string
    }
    /**
     * What patrol finds now. Absent while it can not look, empty when it looked and found nothing.
     */
    patrol?: {
      findings: {
        /**
         * CamelCase and stable, such as ConsumerStalled.
         */
        code: string
        /**
         * critical, warning, unknown or notice.
         */
        severity: string
        /**
         * What it is about: a queue, a schedule, a worker, the broker.
         */
        subject: string
        /**
         * What was seen and what to do.
         */
        message: string
      }[]
      /**
       * How many findings are not listed.
       */
      more?: number
    }
    pools?: {
      name: string
      deployment?: string
      queues?: string[]
      ready: number
      wanted: number
      backlog?: number
      /**
       * Tasks that its Node workers run, as they said last; absent while none has said.
       */
      busy?: number
      /**
       * The number to come back to after suspend.
       */
      suspendedReplicas?: number
    }[]
    beat?: {
      /**
       * Ready, NotReady, Pending, Held, Suspended, Terminating or None.
       */
      state?: string
      pod?: string
      /**
       * The image of a Celery or Command beat, kept while another is not proven by a worker.
       */
      image?: string
      /**
       * How often the Pod was made anew in a row without staying up.
       */
      restarts?: number
      /**
       * The Pod is not made anew before this time (back-off).
       */
      notBefore?: string
      lastCreated?: string
      /**
       * The beat that holds the lease in the broker and fires.
       */
      leaseHolder?: string
      /**
       * When beat last looked at what is due. Written anew every ten minutes.
       */
      lastTickTime?: string
      /**
       * When beat last sent a task, as of lastTickTime.
       */
      lastRunTime?: string
      /**
       * When the next task was due, as of lastTickTime.
       */
      nextRunTime?: string
      /**
       * The hash of the schedules that beat has loaded. It is that of the ConfigMap within seconds of a change.
       */
      schedulesHash?: string
    }
    clock?: {
      /**
       * The largest known offset, for example +0.004s, or Unknown.
       */
      skew?: string
      /**
       * The pod that has it.
       */
      pod?: string
      /**
       * The worst of the pods against the broker.
       */
      hostAgainstBroker?: string
      /**
       * The worst of the pods against NTP.
       */
      hostAgainstNtp?: string
      /**
       * The broker against NTP, as most pods measured.
       */
      brokerAgainstNtp?: string
      /**
       * The worst of the workers against beat.
       */
      hostAgainstBeat?: string
    }
    conditions?: {
      type: string
      status: 'True' | 'False' | 'Unknown'
      observedGeneration?: number
      lastTransitionTime: string
      reason: string
      message: string
    }[]
  }
}

export type TaskQueueSpec = TaskQueueBody['spec']
export type TaskQueueStatus = NonNullable<TaskQueueBody['status']>
export type WorkerPool = NonNullable<TaskQueueSpec['workers']>[number]
export type BeatSpec = NonNullable<TaskQueueSpec['beat']>
export type Schedule = NonNullable<BeatSpec['schedules']>[number]
export type PodTemplateOverlay = NonNullable<TaskQueueSpec['podTemplate']>
