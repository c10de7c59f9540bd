// What the kernel tells of a process: its CPU time and its memory, from /proc. Not of the machine as a whole: operator/machine.ts.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

let clockTicks: number | undefined

/** How many ticks the kernel counts in a second of CPU. */
export function ticks(): number {
  clockTicks ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  return clockTicks
}

/** The fields of /proc/<pid>/stat from the state on; the name before it may hold spaces. */
export function statFields(pid: number | 'self'): string[] {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
}

/** User and system time so far, threads included. */
export function cpuSeconds(pid: number): number {
  const fields = statFields(pid)
  return (Number(fields[11]) + Number(fields[12])) / ticks()
}

/** One of the sizes in /proc/<pid>/status. */
export function memoryKiB(pid: number, name: 'VmRSS' | 'VmHWM' | 'RssAnon'): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}
