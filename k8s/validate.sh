#!/usr/bin/env bash
# Checks that a running jobqueue does what it promises, by named checks. Ends with a count; the exit code is 0 if all passed, 1 if
# one failed, 2 if the checks could not begin. It deletes one worker pod and leaves a few hundred finished jobs; nothing else changes.
set -uo pipefail

readonly NAMESPACE=jobqueue
context="" only="" url="" list=no quick=no
passed=0 failed=0 skipped=0

usage() {
  cat <<'TEXT'
Usage: k8s/validate.sh [options]

  --context NAME   the kubectl context; default: the current one
  --url URL        where the API is; default: a port-forward to the service
  --only NAMES     run these checks only, separated by commas
  --quick          leave out what deletes or starts pods
  --list           print the names of the checks
  -h, --help       this text

The API's key is taken from JOBQUEUE_API_KEY, or else from the secret jobqueue-secret.
TEXT
}

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' bold=$'\e[1m' plain=$'\e[0m'
else
  red="" green="" yellow="" bold="" plain=""
fi

readonly CHECKS=(
  namespace_restricted database_ready migration_done pods_ready pods_not_restarting probes_configured
  resources_bounded containers_hardened grace_longer_than_drain autoscalers_active disruption_budgets_allow
  service_has_endpoints secret_is_real api_alive api_ready key_required job_finishes metrics_of_the_queues metrics_of_the_processes
  worker_loss_survived network_policy_effective
)
readonly DISTURBING=" worker_loss_survived network_policy_effective "

while [ $# -gt 0 ]; do
  case "$1" in
    --context) context=${2:?--context needs a value}; shift 2 ;;
    --url) url=${2:?--url needs a value}; url=${url%/}; shift 2 ;;
    --only) only=",${2:?--only needs a value},"; shift 2 ;;
    --quick) quick=yes; shift ;;
    --list) list=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
if [ "$list" = yes ]; then
  printf '%s\n' "${CHECKS[@]}"
  exit 0
fi

workdir=$(mktemp -d) || exit 2
forwards=()
clean_up() {
  local pid
  for pid in "${forwards[@]:+${forwards[@]}}"; do kill "$pid" 2>/dev/null; done
  rm -rf "$workdir"
}
trap clean_up EXIT

k() { kubectl ${context:+--context "$context"} -n "$NAMESPACE" "$@"; }
# A check calls this with its reason and returns.
because() { printf '%s\n' "$*" >>"$workdir/reason"; return 1; }
cannot() { printf '%s\n' "$*" >>"$workdir/skip"; return 1; }

for tool in kubectl curl; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is not installed" >&2
    exit 2
  fi
done
if ! k get namespace "$NAMESPACE" >/dev/null 2>"$workdir/error"; then
  echo "the cluster does not answer, or has no namespace $NAMESPACE:" >&2
  cat "$workdir/error" >&2
  exit 2
fi

# --- reaching the API -------------------------------------------------------------------------------------------------------

# Forwards a local port to a target and prints the port.
forward() { # target remote-port
  local log=$workdir/forward-$RANDOM end port
  k port-forward "$1" ":$2" >"$log" 2>&1 &
  forwards+=($!)
  end=$((SECONDS + 15))
  while [ "$SECONDS" -lt "$end" ]; do
    port=$(sed -nE 's/^Forwarding from 127\.0\.0\.1:([0-9]+) .*/\1/p' "$log" | head -1)
    if [ -n "$port" ]; then
      forwarded=$port
      return 0
    fi
    sleep 0.2
  done
  return 1
}

reach_api() {
  [ -n "$url" ] && return 0
  forward service/jobqueue-api 80 || because "no port-forward to service/jobqueue-api" || return 1
  url=http://127.0.0.1:$forwarded
}

# The key goes to curl by a file that only we can read: arguments show up in `ps`.
read_key() {
  [ -s "$workdir/key" ] && return 0
  (
    umask 077
    key=${JOBQUEUE_API_KEY:-$(k get secret jobqueue-secret -o 'jsonpath={.data.API_SECRET_KEY}' | base64 -d)}
    [ -n "$key" ] && printf 'Authorization: Bearer %s\n' "$key" >"$workdir/key"
  )
}

reach_with_key() {
  reach_api || return 1
  read_key || because "no key: neither JOBQUEUE_API_KEY nor the secret jobqueue-secret"
}

call() { # method path [body]
  local body=()
  if [ $# -ge 3 ]; then body=(-H 'Content-Type: application/json' --data-binary "$3"); fi
  curl -sS -m 75 -X "$1" -H "@$workdir/key" ${body[@]+"${body[@]}"} "$url$2"
}

status_of() { curl -s -o /dev/null -m 10 -w '%{http_code}' "$url$1"; }
field() { grep -oE "\"$1\": ?\"[^\"]*\"" | head -1 | cut -d'"' -f4; }

# --- the objects ------------------------------------------------------------------------------------------------------------

namespace_restricted() {
  local level
  level=$(k get namespace "$NAMESPACE" -o 'jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}')
  [ "$level" = restricted ] || because "pod-security.kubernetes.io/enforce is '$level', not restricted"
}

database_ready() {
  local ready
  if k get statefulset postgres >/dev/null 2>&1; then
    ready=$(k get statefulset postgres -o 'jsonpath={.status.readyReplicas}')
    [ "${ready:-0}" -ge 1 ] || because "statefulset/postgres has no ready pod"
  elif k get clusters.postgresql.cnpg.io jobqueue-db >/dev/null 2>&1; then
    ready=$(k get clusters.postgresql.cnpg.io jobqueue-db -o 'jsonpath={.status.readyInstances}')
    [ "${ready:-0}" -ge 2 ] || because "jobqueue-db has ${ready:-0} ready instances: a commit needs two"
  else
    cannot "neither the StatefulSet nor CloudNativePG: a managed Postgres"
  fi
}

migration_done() {
  local succeeded
  succeeded=$(k get job jobqueue-migration -o 'jsonpath={.status.succeeded}' 2>/dev/null) ||
    { cannot "the Job is gone: it is removed a day after its end; api_ready tells whether the schema fits"; return 1; }
  [ "${succeeded:-0}" -ge 1 ] || because "job/jobqueue-migration has not succeeded: kubectl -n $NAMESPACE logs job/jobqueue-migration"
}

pods_ready() {
  local pods name ready phase bad=""
  pods=$(k get pods -o 'jsonpath={range .items[*]}{.metadata.name},{.status.conditions[?(@.type=="Ready")].status},{.status.phase}{"\n"}{end}')
  [ -n "$pods" ] || because "there are no pods" || return 1
  while IFS=, read -r name ready phase; do
    if [ "$phase" != Succeeded ] && [ "$ready" != True ]; then bad="$bad $name"; fi
  done <<<"$pods"
  [ -z "$bad" ] || because "not ready:$bad"
}

pods_not_restarting() {
  local bad
  bad=$(k get pods -o 'jsonpath={range .items[*]}{range .status.containerStatuses[*]}{.name} {.restartCount} {.state.waiting.reason} {.lastState.terminated.reason}{"\n"}{end}{range .status.initContainerStatuses[*]}{.name} {.restartCount} {.state.waiting.reason}{"\n"}{end}{end}' |
    awk '$2 > 3 || /CrashLoopBackOff/ || /OOMKilled/ { print $0 }')
  [ -z "$bad" ] || because "restarts: $bad"
}

# For each Deployment a line by a jsonpath over its first container.
of_deployments() { k get deployments -l app.kubernetes.io/part-of=jobqueue -o "jsonpath={range .items[*]}{.metadata.name} $1{\"\n\"}{end}"; }

probes_configured() {
  local name live ready bad=""
  while read -r name live ready; do
    case "$name" in
      "" | pgbouncer) ;;
      *) { [ "$live" = /health ] && [ "$ready" = /ready ]; } || bad="$bad $name" ;;
    esac
  done < <(of_deployments '{.spec.template.spec.containers[0].livenessProbe.httpGet.path} {.spec.template.spec.containers[0].readinessProbe.httpGet.path}')
  [ -z "$bad" ] || because "liveness is not /health or readiness not /ready in:$bad"
}

resources_bounded() {
  local bad
  bad=$(of_deployments '{.spec.template.spec.containers[0].resources.requests.cpu} {.spec.template.spec.containers[0].resources.limits.cpu} {.spec.template.spec.containers[0].resources.requests.memory} {.spec.template.spec.containers[0].resources.limits.memory}' |
    awk 'NF && NF < 5 { print $1 }')
  [ -z "$bad" ] || because "requests or limits are missing: $bad"
}

containers_hardened() {
  local bad
  bad=$(of_deployments '{.spec.template.spec.securityContext.runAsNonRoot} {.spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem} {.spec.template.spec.containers[0].securityContext.capabilities.drop[0]} {.spec.template.spec.automountServiceAccountToken}' |
    awk 'NF && ($2 != "true" || $3 != "true" || $4 != "ALL" || $5 != "false") { print $1 }')
  [ -z "$bad" ] || because "root, writable, with capabilities or with a token: $bad"
}

grace_longer_than_drain() {
  local grace drain
  grace=$(k get deployment jobqueue-worker -o 'jsonpath={.spec.template.spec.terminationGracePeriodSeconds}')
  drain=$(k get deployment jobqueue-worker -o 'jsonpath={.spec.template.spec.containers[0].env[?(@.name=="WORKER_SHUTDOWN_GRACE_SECONDS")].value}')
  [ "${grace:-0}" -ge $((${drain:-50} + 9)) ] || because "terminationGracePeriodSeconds ${grace:-?} is not 9 s above WORKER_SHUTDOWN_GRACE_SECONDS ${drain:-50}"
}

autoscalers_active() {
  local bad
  bad=$(k get hpa -o 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="ScalingActive")].status}{"\n"}{end}' |
    awk 'NF && $2 != "True" { print $1 }')
  [ -z "$bad" ] || because "not active (metrics-server missing?): $bad"
}

disruption_budgets_allow() {
  local bad
  bad=$(k get pdb -o 'jsonpath={range .items[*]}{.metadata.name} {.status.disruptionsAllowed}{"\n"}{end}' | awk 'NF && $2 + 0 < 1 { print $1 }')
  [ -z "$bad" ] || because "a drain of a node would hang at: $bad"
}

service_has_endpoints() {
  local ready
  ready=$(k get endpointslices -l kubernetes.io/service-name=jobqueue-api \
    -o 'jsonpath={range .items[*].endpoints[*]}{.conditions.ready}{"\n"}{end}' | grep -c true)
  [ "$ready" -ge 1 ] || because "service/jobqueue-api leads to no ready pod"
}

secret_is_real() {
  local key length
  for key in DATABASE_URL API_SECRET_KEY; do
    if k get secret jobqueue-secret -o "jsonpath={.data.$key}" 2>/dev/null | base64 -d 2>/dev/null | grep -q CHANGE_ME; then
      because "$key is the example"
      return 1
    fi
  done
  length=$(k get secret jobqueue-secret -o 'jsonpath={.data.API_SECRET_KEY}' 2>/dev/null | base64 -d 2>/dev/null | wc -c)
  [ "$length" -ge 32 ] || because "API_SECRET_KEY has $length characters, not 32 or more"
}

# --- the API ----------------------------------------------------------------------------------------------------------------

expect_status() { # path code
  local code
  reach_api || return 1
  code=$(status_of "$1")
  [ "$code" = "$2" ] || because "GET $1 answers $code, not $2"
}

api_alive() { expect_status /health 200; }
api_ready() { expect_status /ready 200; }
key_required() { expect_status /v1/queues 401; }

SMOKE='{"kind":"jobqueue.smoke","payload":null,"max_attempts":10,"tags":["validate"]}'

job_finishes() {
  local id status
  reach_with_key || return 1
  id=$(call POST /v1/jobs "$SMOKE" | field id)
  [ -n "$id" ] || because "POST /v1/jobs gave no job" || return 1
  status=$(call GET "/v1/jobs/$id?wait=30" | field status)
  [ "$status" = completed ] || because "job $id is '$status' after 30 s, not completed (the handler jobqueue.smoke is in worker-handlers.yaml)"
}

metrics_of_the_queues() {
  local page name
  reach_api || return 1
  page=$(curl -s -m 10 "$url/metrics")
  for name in job_created_total job_completed_total job_failed_total job_queue_depth worker_lease_acquired_total; do
    grep -q "^$name{" <<<"$page" || because "/metrics has no $name" || return 1
  done
}

metrics_of_the_processes() {
  local pair pod page
  for pair in jobqueue-worker:worker_slots jobqueue-reaper:reaper_runs_total jobqueue-api:http_request_duration_seconds_count; do
    pod=$(k get pods -l "app.kubernetes.io/name=${pair%%:*}" --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}')
    forward "pod/$pod" 9090 || because "no port-forward to $pod" || return 1
    page=$(curl -s -m 10 "http://127.0.0.1:$forwarded/metrics")
    grep -q "^${pair##*:}" <<<"$page" || because "$pod does not tell ${pair##*:}" || return 1
  done
}

# --- what disturbs ----------------------------------------------------------------------------------------------------------

worker_loss_survived() {
  local body ids id pod end left=() still
  reach_with_key || return 1
  body=$(printf "%.0s$SMOKE," $(seq 1 300))
  ids=$(call POST /v1/jobs/batch "{\"jobs\":[${body%,}]}" | grep -oE '"id": ?"[0-9a-f-]{36}"' | cut -d'"' -f4)
  pod=$(k get pods -l app.kubernetes.io/name=jobqueue-worker --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}')
  k delete pod "$pod" --wait=false >/dev/null || because "cannot delete $pod" || return 1
  [ "$(wc -l <<<"$ids")" -eq 300 ] || because "not all 300 jobs were stored" || return 1
  end=$((SECONDS + 30))
  mapfile -t left <<<"$ids"
  while [ ${#left[@]} -gt 0 ] && [ "$SECONDS" -lt "$end" ]; do
    still=()
    for id in "${left[@]}"; do
      [ "$(call GET "/v1/jobs/$id" | field status)" = completed ] || still+=("$id")
      [ "$SECONDS" -lt "$end" ] || break
    done
    left=("${still[@]+"${still[@]}"}")
  done
  [ ${#left[@]} -eq 0 ] || because "${#left[@]} of 300 jobs are not completed 30 s after $pod was deleted, for example ${left[0]}"
}

network_policy_effective() {
  local image name=validate-intruder phase end overrides
  image=$(k get statefulset postgres -o 'jsonpath={.spec.template.spec.containers[0].image}' 2>/dev/null) ||
    { cannot "needs the image of statefulset/postgres"; return 1; }
  # A pod with none of our labels tries to reach Postgres; `pg_isready` exits with 2 if nobody answers.
  overrides='{"spec":{"automountServiceAccountToken":false,"securityContext":{"runAsNonRoot":true,"runAsUser":65532,"seccompProfile":{"type":"RuntimeDefault"}},
    "containers":[{"name":"intruder","image":"'$image'","command":["pg_isready","-h","postgres","-t","5"],
    "resources":{"requests":{"cpu":"10m","memory":"32Mi"},"limits":{"cpu":"20m","memory":"64Mi"}},
    "securityContext":{"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{"drop":["ALL"]}}}]}}'
  k delete pod "$name" --ignore-not-found --wait=true >/dev/null 2>&1
  k run "$name" --image="$image" --restart=Never --overrides="$overrides" >/dev/null || because "cannot start a pod to try it with" || return 1
  end=$((SECONDS + 60)) phase=""
  while [ "$SECONDS" -lt "$end" ] && [ "$phase" != Failed ] && [ "$phase" != Succeeded ]; do
    sleep 1
    phase=$(k get pod "$name" -o 'jsonpath={.status.phase}')
  done
  k delete pod "$name" --wait=false >/dev/null 2>&1
  case "$phase" in
    Failed) return 0 ;;
    Succeeded) because "a pod without our labels reaches Postgres: does the network plugin enforce NetworkPolicies?" ;;
    *) because "the pod that tries it is $phase" ;;
  esac
}

# --- running them -----------------------------------------------------------------------------------------------------------

for check in "${CHECKS[@]}"; do
  if [ -n "$only" ] && [[ "$only" != *",$check,"* ]]; then continue; fi
  if [ "$quick" = yes ] && [[ "$DISTURBING" == *" $check "* ]]; then continue; fi
  : >"$workdir/reason"
  rm -f "$workdir/skip"
  if "$check" 2>>"$workdir/reason"; then
    passed=$((passed + 1))
    printf '%spass%s  %s\n' "$green" "$plain" "${check//_/-}"
  elif [ -f "$workdir/skip" ]; then
    skipped=$((skipped + 1))
    printf '%sskip%s  %s: %s\n' "$yellow" "$plain" "${check//_/-}" "$(head -1 "$workdir/skip")"
  else
    failed=$((failed + 1))
    printf '%sFAIL%s  %s\n' "$red" "$plain" "${check//_/-}"
    sed 's/^/      /' "$workdir/reason"
  fi
done

printf '%s%d passed, %d failed, %d skipped%s\n' "$bold" "$passed" "$failed" "$skipped" "$plain"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
