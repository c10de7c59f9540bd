// Writes the API report of @taskqueue/runtime: one file for each entry point of its `exports`, so that a change of what users call is seen in
// review. `--check` writes nothing and exits 1 when a report is stale. It reads what was built (`npm run build`), and judges nothing.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Extractor, ExtractorConfig, ExtractorLogLevel, type IConfigFile } from '@microsoft/api-extractor'
import { writeOrCheck, type Generated } from '../../deploy/generated.ts'

const packageFolder = join(import.meta.dirname, '../../src/runtime')
const packageJsonFullPath = join(packageFolder, 'package.json')

/** `.` is `runtime`, `./log` is `log`: the reports' names. */
const nameOf = (entry: string): string => (entry === '.' ? 'runtime' : entry.replace(/^\.\//, '').replaceAll('/', '-'))

function entryPoints(): [name: string, types: string][] {
  const { exports } = JSON.parse(readFileSync(packageJsonFullPath, 'utf8')) as {
    exports: Record<string, { types: string }>
  }
  return Object.entries(exports).map(([entry, { types }]) => [nameOf(entry), join(packageFolder, types)])
}

function configuration(name: string, types: string, folder: string): IConfigFile {
  const silent = { logLevel: ExtractorLogLevel.None }
  return {
    projectFolder: packageFolder,
    mainEntryPointFilePath: types,
    newlineKind: 'lf',
    compiler: {
      overrideTsconfig: {
        compilerOptions: {
          target: 'ES2024',
          lib: ['ES2024', 'ESNext.Disposable'],
          types: ['node'],
          strict: true,
          skipLibCheck: true,
          module: 'NodeNext',
          moduleResolution: 'NodeNext',
        },
        files: [types],
      },
    },
    apiReport: {
      enabled: true,
      reportFileName: `${name}.api.md`,
      reportFolder: folder,
      reportTempFolder: join(folder, 'draft'),
      // What an exported type refers to is seen by users too, exported or not.
      includeForgottenExports: true,
    },
    docModel: { enabled: false },
    dtsRollup: { enabled: false },
    tsdocMetadata: { enabled: false },
    messages: {
      // Whether the code is right is tsc's to say, and how it is documented is a matter of review.
      compilerMessageReporting: { default: silent },
      extractorMessageReporting: { default: silent },
      tsdocMessageReporting: { default: silent },
    },
  }
}

function report([name, types]: readonly [name: string, types: string], folder: string): Generated {
  const config = ExtractorConfig.prepare({
    configObject: configuration(name, types, folder),
    configObjectFullPath: undefined,
    packageJsonFullPath,
  })
  Extractor.invoke(config, {
    localBuild: true,
    messageCallback: (message) => {
      message.handled = true
      if (message.logLevel === ExtractorLogLevel.Error) throw new Error(`${name}: ${message.text}`)
    },
  })
  return {
    path: join(import.meta.dirname, `${name}.api.md`),
    text: readFileSync(join(folder, `${name}.api.md`), 'utf8'),
  }
}

const folder = mkdtempSync(join(tmpdir(), 'taskqueue-api-'))
try {
  writeOrCheck(entryPoints().map((entry) => report(entry, folder)))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
