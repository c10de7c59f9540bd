// At least once, for real, on one server.
import { deliverySuite } from './support/delivery.ts'

deliverySuite('one server')
