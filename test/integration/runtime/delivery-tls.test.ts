// At least once, for real, on TLS with ACL users.
import { deliverySuite } from './support/delivery.ts'

deliverySuite('TLS with ACL users')
