#!/usr/bin/env node
// `kubectl taskqueue`: kubectl finds it by this name on the PATH.
import { main } from '../dist/main.js'

process.exitCode = await main(process.argv.slice(2))
