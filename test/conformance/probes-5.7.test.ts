// The probes of a Celery 5.7 worker.
import { probeSuite } from './support/probesuite.ts'

probeSuite('5.7')
