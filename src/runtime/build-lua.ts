// Copies what tsc leaves behind, the Lua scripts, into dist. Part of `npm run build`.
import { cpSync, rmSync } from 'node:fs'

const from = new URL('./broker/redis/lua/', import.meta.url)
const to = new URL('./dist/broker/redis/lua/', import.meta.url)
rmSync(to, { recursive: true, force: true })
cpSync(from, to, { recursive: true })
