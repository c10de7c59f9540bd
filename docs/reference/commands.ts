// The page of commands, out of the command lines as they are parsed: `taskqueue`, `kubectl taskqueue`, and the processes that take none.

import type { Command } from 'commander'
import { createProgram as createPlugin } from '../../src/kubectl/main.ts'
import { createProgram } from '../../src/runtime/cli/main.ts'
import { code, plain, table } from './markdown.ts'

/** Of its options those that are not help. */
function flagsOf(command: Command): string[][] {
  return command.options.map(({ flags, description, defaultValue }) => [
    code(flags),
    defaultValue === undefined || defaultValue === true ? '' : code(String(defaultValue)),
    plain(description),
  ])
}

function flagTable(flags: readonly (readonly string[])[]): string {
  return flags.length === 0 ? 'No flags.' : table(['Flag', 'Default', 'Meaning'], flags)
}

function usageOf(command: Command, parents: string): string {
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`
    return argument.required ? `<${name}>` : `[${name}]`
  })
  return [parents, command.name(), ...words].filter((word) => word !== '').join(' ')
}

/** A command with what it is made of. Commands that all take the same flags are one section. */
function sections(command: Command, parents: string): string[] {
  const path = parents === '' ? command.name() : `${parents} ${command.name()}`
  const { commands } = command
  if (commands.length === 0)
    return [
      `### ${path}\n\n${plain(command.description())}.\n\n${code(usageOf(command, parents))}\n\n${flagTable(flagsOf(command))}`,
    ]
  const alike = new Set(commands.map((each) => JSON.stringify(flagsOf(each)))).size === 1
  if (!alike) return commands.flatMap((each) => sections(each, path))
  const [first] = commands
  return [
    `### ${path}\n\n${plain(command.description())}.\n\n${table(
      ['Command', 'What it does'],
      commands.map((each) => [code(usageOf(each, path)), plain(each.description())]),
    )}\n\n${first ? flagTable(flagsOf(first)) : ''}`,
  ]
}

function pluginSection(plugin: Command): string {
  const commands = plugin.commands.map((each) => [
    code(usageOf(each, plugin.name())),
    flagsOf(each)
      .map(
        ([flag = '', fallback = '', meaning = '']) => `${flag}: ${meaning}${fallback === '' ? '' : ` (${fallback})`}`,
      )
      .join('; '),
    plain(each.description()),
  ])
  return `${flagTable(flagsOf(plugin))}\n\n${table(['Command', 'Its own flags', 'What it does'], commands)}`
}

export function commandsPage(): string {
  const program = createProgram()
  return `# Commands

Made from the command lines themselves by \`make generate\`. Exit codes of all: 0 done, 1 something was found or failed, 2 wrong use; a worker or a beat also has [others](../errors.md#exit-codes). A name in brackets is the [variable](variables.md) that says the same.

## taskqueue

${plain(program.description())} \`--help\` of a command tells more, \`--version\` the version.

${program.commands.flatMap((each) => sections(each, program.name())).join('\n\n')}

## kubectl taskqueue

What they need and show is in [the plugin](../plugin.md). These flags stand before or after a command:

${pluginSection(createPlugin().program)}

## The operator and the companion

\`node src/operator/dist/main.js\` and \`node src/companion/dist/main.js\`, in one image. They take no flags, only [variables](variables.md).
`
}
