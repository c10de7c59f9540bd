// The arrows of the architecture (docs/architecture.md): who may import whom. Run by `npm run arrows`.
const forbid = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to })

module.exports = {
  forbidden: [
    forbid('no-circular', 'A cycle hides where a thing begins.', {}, { circular: true }),
    forbid(
      'runtime-knows-nobody',
      'operator -> runtime and companion -> runtime, never back.',
      { path: '^src/runtime/' },
      { path: '^src/(operator|companion|kubectl)/' },
    ),
    forbid(
      'operator-and-companion-apart',
      'They meet only on the wire.',
      { path: '^src/(operator|companion)/' },
      { path: '^src/(operator|companion)/', pathNot: '^src/$1/' },
    ),
    forbid(
      'plugin-knows-kubectl-only',
      'It has the rights of whoever calls it, and no other way to the API server or to a broker than kubectl.',
      { path: '^src/kubectl/' },
      { path: '^src/(runtime|operator|companion)/' },
    ),
    forbid(
      'protocol-knows-nobody',
      "Celery's wire as pure functions; only errors and node: built-ins beside it.",
      { path: '^src/runtime/protocol/' },
      { path: '^src/runtime/', pathNot: '^src/runtime/(protocol/|errors\\.ts)' },
    ),
    forbid(
      'broker-knows-protocol-only',
      'broker -> protocol.',
      { path: '^src/runtime/broker/' },
      {
        path: '^src/runtime/',
        pathNot: '^src/runtime/(broker|protocol)/|^src/runtime/(errors|log|settings|clock)\\.ts',
      },
    ),
    forbid(
      'canvas-is-pure',
      'What follows what: signatures in, messages out. Nothing is sent from here.',
      { path: '^src/runtime/canvas/' },
      {
        path: '^src/runtime/',
        pathNot: '^src/runtime/(canvas|protocol)/|^src/runtime/errors\\.ts',
        dependencyTypesNot: ['type-only'],
      },
    ),
    forbid(
      'worker-beat-scheduler-apart',
      'worker, beat and scheduler stand on broker, not on each other.',
      { path: '^src/runtime/(worker|beat|scheduler)/' },
      { path: '^src/runtime/(worker|beat|scheduler)/', pathNot: '^src/runtime/$1/' },
    ),
    forbid(
      'redis-behind-broker',
      'Only broker/redis and the companion name ioredis.',
      { path: '^src/', pathNot: '^src/(runtime/broker/redis/|companion/)' },
      { path: 'node_modules/ioredis' },
    ),
    forbid(
      'desired-is-pure',
      'TaskQueue in, objects out: no client, no broker, no I/O.',
      { path: '^src/operator/desired/' },
      {
        path: '^src/operator/(kube|inspect)/|node_modules/(@kubernetes|ioredis)|^(node:)?(fs|net|http|https|child_process)$',
        // Shapes of Kubernetes objects are borrowed as types.
        dependencyTypesNot: ['type-only'],
      },
    ),
    forbid(
      'only-kube-talks-to-the-api',
      '@kubernetes/client-node is imported by kube/ alone.',
      { path: '^src/operator/', pathNot: '^src/operator/kube/' },
      { path: 'node_modules/@kubernetes', dependencyTypesNot: ['type-only'] },
    ),
    forbid(
      'only-inspect-talks-to-a-broker',
      'A broker is reached through inspect/ alone.',
      { path: '^src/operator/', pathNot: '^src/operator/inspect/' },
      { path: '^src/runtime/(dist/)?broker/' },
    ),
    forbid('no-orphan-imports', 'Every import must resolve.', {}, { couldNotResolve: true }),
    forbid(
      'declared-dependencies',
      'A package is imported only by a workspace that declares it.',
      { path: '^src/' },
      { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules|/dist/' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['types', 'import', 'default'] },
  },
}
