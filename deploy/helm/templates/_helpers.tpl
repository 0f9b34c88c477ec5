{{- define "qwenvl.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 30 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 30 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "qwenvl.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "qwenvl.labels" -}}
{{ include "qwenvl.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "qwenvl.claim" -}}
{{- .Values.weights.existingClaim | default (printf "%s-weights" (include "qwenvl.name" .)) -}}
{{- end }}

{{/* The Secret with the key file; empty where anyone may call. */}}
{{- define "qwenvl.keys" -}}
{{- if .Values.gateway.keys.existingSecret }}{{ .Values.gateway.keys.existingSecret }}
{{- else if .Values.gateway.keys.toml }}{{ include "qwenvl.name" . }}-keys
{{- else if not .Values.gateway.openToAnyone }}{{ fail "gateway.keys: name a Secret (existingSecret) or give its text (toml), or say openToAnyone" }}
{{- end }}
{{- end }}

{{/* The words after the program: those of server/engines/profiles.py, which a test compares. */}}
{{- define "qwenvl.engineArgs" -}}
{{- $shown := .root.Values.shown -}}
{{- $image := dict "size" (dict "shortest_edge" (int $shown.imageMinPixels) "longest_edge" (int $shown.imageMaxPixels)) -}}
{{- $video := dict "size" (dict "shortest_edge" (int $shown.videoMinPixels) "longest_edge" (int $shown.videoMaxPixels)) "cap_pixels_per_frame" false -}}
{{- $args := list
  "--model" .engine.model
  "--served-model-name" .engine.model
  "--generation-config" "vllm"
  "--structured-outputs-config" (toJson (dict "backend" "xgrammar" "disable_any_whitespace" true))
  "--enable-prompt-tokens-details"
  "--enable-request-id-headers"
  "--enable-auto-tool-choice" "--tool-call-parser" "hermes"
  "--tool-parser-plugin" "/opt/qwenvl/tool_parser.py"
  "--media-io-kwargs" (toJson (dict "video" (dict "fps" $shown.videoFps "num_frames" (int $shown.videoMaxFrames))))
  "--mm-processor-kwargs" (toJson (dict "images_kwargs" $image "videos_kwargs" $video))
  "--limit-mm-per-prompt" (toJson (dict "image" (int $shown.maxImages) "video" (int $shown.maxVideos)))
  "--allowed-media-domains" "media.invalid"
  "--max-num-queued-reqs" "1024"
  "--max-logprobs" "20"
  "--shutdown-timeout" (toString .root.Values.engine.shutdownTimeoutSeconds)
  "--disable-fastapi-docs"
  "--disable-uvicorn-access-log"
-}}
{{- toJson (concat $args .engine.flags .root.Values.engine.extraFlags (list "--host" "0.0.0.0" "--port" "8000")) -}}
{{- end }}

{{- define "qwenvl.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* The headless services of all engines, as QVL_ENGINE_DNS wants them. */}}
{{- define "qwenvl.engineNames" -}}
{{- $names := list -}}
{{- range $key, $_ := .Values.engines -}}
{{- $names = append $names (printf "%s-%s.%s.svc:8000" (include "qwenvl.name" $) $key $.Release.Namespace) -}}
{{- end -}}
{{- join "," $names -}}
{{- end }}
