// A gauge that is read when Prometheus asks, so that nobody has to keep it up to date.
import { Gauge, type Registry } from 'prom-client'

/** Adds the gauge to the registry; `read` is called at each scrape. */
export function scrapedGauge(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read())
    },
  })
}
