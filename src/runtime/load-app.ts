// Loads the module that --app names.
import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isTaskApp, type TaskApp } from './app.ts'
import { UsageError, asError } from './errors.ts'

/**
 * The TaskApp that a module exports as `app` or as default.
 * @throws UsageError `AppNotFound`, `AppNotLoaded`, `AppMissing`
 */
export async function loadApp(file: string): Promise<TaskApp> {
  const path = resolve(file)
  try {
    await access(path)
  } catch {
    throw new UsageError(
      'AppNotFound',
      `there is no file ${path}: --app (TASKQUEUE_APP) names the module that exports the TaskApp`,
    )
  }
  let module: Record<string, unknown>
  try {
    module = (await import(pathToFileURL(path).href)) as Record<string, unknown>
  } catch (error) {
    throw new UsageError('AppNotLoaded', `${path} can't be loaded: ${asError(error).stack ?? asError(error).message}`, {
      cause: error,
    })
  }
  const app = [module['app'], module['default']].find(isTaskApp)
  if (!app) {
    const names = Object.keys(module).join(', ') || 'nothing'
    throw new UsageError('AppMissing', `${path} exports no TaskApp as "app" or as default (it exports ${names})`)
  }
  return app
}
