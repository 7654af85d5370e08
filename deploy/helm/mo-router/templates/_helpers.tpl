{{- define "mo-router.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mo-router.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mo-router.labels" -}}
{{ include "mo-router.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "mo-router.validate" -}}
{{- $sources := compact (list .Values.plugins.configMap .Values.plugins.image .Values.plugins.existingClaim) -}}
{{- if ne (len $sources) 1 -}}
{{- fail "plugins: set exactly one of configMap, image and existingClaim" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.store.postgres.enabled) -}}
{{- fail "replicas: more than one router needs store.postgres.enabled, since a file of SQLite belongs to one router" -}}
{{- end -}}
{{- if regexMatch `(?m)^\s*(daemon\.)?stop_timeout\s*=` .Values.settings -}}
{{- fail "settings: set stopTimeoutSeconds in place of [daemon] stop_timeout: Kubernetes has to wait for it" -}}
{{- end -}}
{{- end -}}
