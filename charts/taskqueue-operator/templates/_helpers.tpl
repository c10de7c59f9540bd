{{- define "taskqueue-operator.name" -}}
{{- printf "%s" .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "taskqueue-operator.labels" -}}
app.kubernetes.io/name: taskqueue-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "taskqueue-operator.selector" -}}
app.kubernetes.io/name: taskqueue-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "taskqueue-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "taskqueue-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "taskqueue-operator.name" .) }}
{{- else -}}
{{ required "serviceAccount.create is false: serviceAccount.name must say which one is used" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* What the operator does with what belongs to a TaskQueue, in one namespace or in all. Secrets are read one by one, never listed. */}}
{{- define "taskqueue-operator.rules" -}}
- apiGroups: [taskqueue.dev]
  resources: [taskqueues]
  verbs: [list, watch]
- apiGroups: [taskqueue.dev]
  resources: [taskqueues/status]
  verbs: [patch]
# Clusters that enforce permissions on owner references ask for this one.
- apiGroups: [taskqueue.dev]
  resources: [taskqueues/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: ['']
  resources: [pods, configmaps, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: ['']
  resources: [serviceaccounts, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Of the Prometheus operator, for spec.podMonitor; a cluster without it has no such kind.
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch, delete]
# One key of a Secret that a TaskQueue names, by get: they are never listed or watched.
- apiGroups: ['']
  resources: [secrets]
  verbs: [get]
- apiGroups: ['']
  resources: [events]
  verbs: [create]
{{- end }}
