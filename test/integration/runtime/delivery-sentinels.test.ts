// At least once, for real, on sentinels.
import { deliverySuite } from './support/delivery.ts'

deliverySuite('sentinels')
