// The defaults of the TaskQueue resource. Generated from crds/ by `make generate`: do not edit. Who fills them in is defaulted.ts.

import type { Defaults } from './defaulted.ts'

export const specDefaults: Defaults = {
  properties: {
    environment: { default: 'Production' },
    suspend: { default: false },
    broker: { properties: { visibilityTimeoutSeconds: { default: 3600 } } },
    results: { default: {}, properties: { ttlSeconds: { default: 86400 } } },
    taskDefaults: {
      properties: {
        queue: { default: 'default' },
        acksLate: { default: true },
        maxRetries: { default: 3 },
        retryBackoffSeconds: { default: 60 },
        maxPayloadBytes: { default: 65536 },
      },
    },
    workers: {
      items: {
        properties: {
          concurrency: { default: 8 },
          autoscale: {
            properties: {
              minReplicas: { default: 0 },
              backlogPerReplica: { default: 50 },
              cooldownSeconds: { default: 300 },
            },
          },
          maxTaskSeconds: { default: 600 },
          probe: { default: 'Companion' },
        },
      },
    },
    beat: {
      properties: {
        scheduler: { default: 'Declared' },
        timeZone: { default: 'UTC' },
        schedules: { items: { properties: { misfireGraceSeconds: { default: 300 }, catchUp: { default: 'Last' } } } },
        storage: { default: {}, properties: { size: { default: '64Mi' }, whenDeleted: { default: 'Delete' } } },
      },
    },
    clockSync: {
      default: {},
      properties: { mode: { default: 'Monitor' }, maxSkewSeconds: { default: 60 }, onSkew: { default: 'Report' } },
    },
    networkPolicy: { default: {}, properties: { enabled: { default: false } } },
    podMonitor: { default: {}, properties: { enabled: { default: false } } },
    patrol: {
      default: {},
      properties: {
        idleQueueSeconds: { default: 3600 },
        stalledSeconds: { default: 120 },
        restartStalled: { default: true },
      },
    },
  },
}
