// At least once, for real, on a cluster.
import { deliverySuite } from './support/delivery.ts'

deliverySuite('a cluster')
