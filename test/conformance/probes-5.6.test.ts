// The probes of a Celery 5.6 worker.
import { probeSuite } from './support/probesuite.ts'

probeSuite('5.6')
