// Completion for bash and zsh: the commands, and then the names of TaskQueues as kubectl knows them. Pure.

export function completion(commands: readonly string[]): string {
  return `_kubectl_taskqueue() {
  local word="\${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq "$1" ]; then
    COMPREPLY=($(compgen -W "${commands.join(' ')}" -- "$word"))
  else
    COMPREPLY=($(compgen -W "$(kubectl get taskqueues -o name 2>/dev/null | sed 's,.*/,,')" -- "$word"))
  fi
}
if [ -n "$ZSH_VERSION" ]; then autoload -Uz bashcompinit && bashcompinit; fi
_kubectl_taskqueue_alone() { _kubectl_taskqueue 1; }
complete -F _kubectl_taskqueue_alone kubectl-taskqueue`
}
