#!/usr/bin/env bash
# Runs named checks against a running jobqueue and prints a count. The exit code is 0 if all checks passed, 1
# if one failed, 2 if the checks could not start. It deletes up to three worker pods, starts two pods that
# exit at once, and leaves some hundred finished jobs; it changes nothing else.
# shellcheck source-path=SCRIPTDIR
set -uo pipefail
if [ "${BASH_VERSINFO[0]}" -lt 5 ]; then
  echo "needs bash 5 or newer, but this is $BASH_VERSION (on macOS: brew install bash)" >&2
  exit 2
fi

readonly NAMESPACE=jobqueue
context="" only="" url="" prometheus="" list=no quick=no wait_seconds=120
. "$(dirname "${BASH_SOURCE[0]}")/scripts/placeholders.sh"
. "$(dirname "${BASH_SOURCE[0]}")/scripts/validate/secret.sh"
. "$(dirname "${BASH_SOURCE[0]}")/scripts/validate/jobs.sh"
passed=0 failed=0 skipped=0

usage() {
  cat <<'TEXT'
Usage: k8s/validate.sh [options]

  --context NAME   the kubectl context; default: the current one
  --url URL        URL of the API; default: a port-forward to the service
  --prometheus URL URL of Prometheus; default: a port-forward to monitoring/prometheus-operated, if it exists
  --only NAMES     run only these checks, separated by commas
  --quick          skip the checks that delete or start pods
  --wait SECONDS   how long pods and autoscalers may take to be ready (120)
  --list           print the names of the checks
  -h, --help       this text

The API key is read from JOBQUEUE_API_KEY, or else from the secret jobqueue-secret. With that variable, --url, and --only for
checks of the API, no cluster is needed: api_alive, api_ready, key_required, job_finishes, metrics_of_the_queues.
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
  service_has_endpoints schedules_applied secret_is_real secret_has_no_copy api_alive api_ready key_required job_finishes metrics_of_the_queues metrics_of_the_processes
  prometheus_scrapes worker_loss_survived network_policy_effective
)
readonly DISTURBING=" worker_loss_survived network_policy_effective "
readonly OF_THE_API_ALONE='^,((api_alive|api_ready|key_required|job_finishes|metrics_of_the_queues),)+$'

while [ $# -gt 0 ]; do
  case "$1" in
    --context) context=${2:?--context needs a value}; shift 2 ;;
    --url) url=${2:?--url needs a value}; url=${url%/}; shift 2 ;;
    --prometheus) prometheus=${2:?--prometheus needs a value}; prometheus=${prometheus%/}; shift 2 ;;
    --only) only=",${2:?--only needs a value},"; shift 2 ;;
    --quick) quick=yes; shift ;;
    --wait) wait_seconds=${2:?--wait needs a value}; shift 2 ;;
    --list) list=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
if [ "$list" = yes ]; then
  printf '%s\n' "${CHECKS[@]}"
  exit 0
fi
[[ "$wait_seconds" =~ ^[0-9]+$ ]] || { usage >&2; exit 2; }

workdir=$(mktemp -d) || exit 2
# Processes to stop at the end: port-forwards, and `kubectl logs` that follow.
helpers=()
clean_up() {
  local pid
  for pid in "${helpers[@]:+${helpers[@]}}"; do
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  rm -rf "$workdir"
}
trap clean_up EXIT

k() { kubectl ${context:+--context "$context"} -n "$NAMESPACE" "$@"; }
# A check that fails calls this with the reason, and returns.
because() { printf '%s\n' "$*" >>"$workdir/reason"; return 1; }
cannot() { printf '%s\n' "$*" >>"$workdir/skip"; return 1; }
# A check that passes may call this with a remark.
remark() { printf ': %s' "$*" >"$workdir/remark"; }

tools=(curl kubectl)
if [ -n "$url" ] && [ -n "${JOBQUEUE_API_KEY:-}" ] && [[ "$only" =~ $OF_THE_API_ALONE ]]; then tools=(curl); fi
for tool in "${tools[@]}"; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is not installed" >&2
    exit 2
  fi
done
if [ ${#tools[@]} -eq 2 ] && ! k get namespace "$NAMESPACE" >/dev/null 2>"$workdir/error"; then
  echo "the cluster does not answer, or has no namespace $NAMESPACE:" >&2
  cat "$workdir/error" >&2
  exit 2
fi

# --- reaching the API -------------------------------------------------------------------------------------------------------

# Forwards a local port, `forwarded`, to a target. It does not use `k`: the process that is killed at the end
# must be kubectl, not a shell around it.
forward() { # target remote-port [namespace]
  local log=$workdir/forward-$RANDOM end port
  kubectl ${context:+--context "$context"} -n "${3:-$NAMESPACE}" port-forward "$1" ":$2" >"$log" 2>&1 &
  helpers+=($!)
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

# curl reads the key from a file that only this user can read, because arguments show up in `ps`.
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

# Repeats a condition until it holds or the time is over. After the first time-out, later conditions are not
# waited for.
retry_until() { # condition
  local end=$((SECONDS + wait_seconds))
  until "$1"; do
    if [ "$SECONDS" -ge "$end" ]; then wait_seconds=0; return 1; fi
    sleep 2
    : >"$workdir/reason"
  done
}

pods_ready() { retry_until all_pods_ready; }
# Ignores pods that are terminating, completed or evicted, and failed attempts of a Job: another pod replaces
# them.
all_pods_ready() {
  local pods name ready phase leaving why owner bad="" good=" "
  pods=$(k get pods -o 'jsonpath={range .items[*]}{.metadata.name},{.status.conditions[?(@.type=="Ready")].status},'\
'{.status.phase},{.metadata.deletionTimestamp},{.status.reason},{.metadata.ownerReferences[0].kind}{"\n"}{end}')
  while IFS=, read -r name ready phase leaving why owner; do
    if [[ -z "$name" || -n "$leaving" || "$phase/$owner" = Failed/Job || "$phase/$why" =~ ^(Succeeded/.*|Failed/(Evicted|Preempting|NodeShutdown|Terminated))$ ]]; then continue; fi
    if [ "$ready" = True ]; then good="$good$name "; else bad="$bad $name"; fi
  done <<<"$pods"
  [ -z "$bad" ] || because "not ready:$bad" || return 1
  for name in jobqueue-api jobqueue-worker jobqueue-reaper; do
    [[ "$good" == *" $name-"* ]] || because "no pod of $name is ready" || return 1
  done
}

pods_not_restarting() {
  local bad state='{.name} {.restartCount} {.state.waiting.reason} {.lastState.terminated.reason}{"\n"}'
  bad=$(k get pods -o "jsonpath={range .items[*]}{range .status.containerStatuses[*]}$state{end}\
{range .status.initContainerStatuses[*]}$state{end}{end}" |
    awk '$2 > 3 || /CrashLoopBackOff/ || /OOMKilled/ { print $0 }')
  [ -z "$bad" ] || because "restarts: $bad"
}

# Prints a line for each container of jobqueue: kind/name of its object, its own name, `main` or `init`,
# runAsNonRoot and automountServiceAccountToken of the pod, then the requested fields; all separated by |.
containers() { # jsonpath of the fields
  k get deployments,statefulsets,jobs -l app.kubernetes.io/part-of=jobqueue -o "jsonpath={range .items[*]}of|{.kind}/{.metadata.name}|\
{.spec.template.spec.securityContext.runAsNonRoot}|{.spec.template.spec.automountServiceAccountToken}{\"\n\"}\
{range .spec.template.spec.containers[*]}main|{.name}|$1{\"\n\"}{end}\
{range .spec.template.spec.initContainers[*]}init|{.name}|$1{\"\n\"}{end}{end}" |
    awk 'BEGIN { FS = OFS = "|" } $1 == "of" { of = $2; pod = $3 OFS $4; next } NF { type = $1; name = $2; sub(/^[^|]*[|][^|]*[|]/, "")
      print of, name, type, pod, $0 }'
}
# Fails with the names of the containers for which the condition holds.
no_container() { # message, jsonpath of the fields, awk condition on them as a, b, c, d, e
  local lines bad
  lines=$(containers "$2")
  [ -n "$lines" ] || because "there are no Deployments of jobqueue" || return 1
  bad=$(awk -F'|' '{ of = $1; name = $2; type = $3; nonroot = $4; token = $5; a = $6; b = $7; c = $8; d = $9; e = $10 }
    '"$3"' { printf " %s (%s)", of, name }' <<<"$lines")
  [ -z "$bad" ] || because "$1:$bad"
}

# Long-running containers have probes; those of jobqueue use /health and /ready.
probes_configured() {
  no_container "no startup probe, no liveness probe at /health, or no readiness probe at /ready" \
    '{.livenessProbe.periodSeconds}|{.livenessProbe.httpGet.path}|{.readinessProbe.periodSeconds}|{.readinessProbe.httpGet.path}|'\
'{.startupProbe.periodSeconds}' \
    'of !~ /^Job[/]/ && type == "main" && (a == "" || c == "" || e == "" || (of ~ /[/]jobqueue-/ && (b != "/health" || d != "/ready")))'
}

resources_bounded() {
  no_container "requests or limits are missing" \
    '{.resources.requests.cpu}|{.resources.limits.cpu}|{.resources.requests.memory}|{.resources.limits.memory}' \
    'a == "" || b == "" || c == "" || d == ""'
}

containers_hardened() {
  no_container "root, writable, with capabilities or with a token" \
    '{.securityContext.readOnlyRootFilesystem}|{.securityContext.allowPrivilegeEscalation}|{.securityContext.capabilities.drop}' \
    'nonroot != "true" || token != "false" || a != "true" || b != "false" || c !~ /ALL/'
}

# For the API and every pool of workers: preStop, drain and the time to exit fit into the grace period.
grace_longer_than_drain() {
  local lines bad name
  lines=$(k get deployments -l 'app.kubernetes.io/name in (jobqueue-api,jobqueue-worker)' -o "jsonpath={range .items[*]}\
{.metadata.name}|{.spec.template.spec.terminationGracePeriodSeconds}|{.spec.template.spec.containers[0].lifecycle.preStop.sleep.seconds}|\
{.spec.template.spec.containers[0].env[?(@.name==\"WORKER_SHUTDOWN_GRACE_SECONDS\")].value}|\
{.spec.template.spec.containers[0].env[?(@.name==\"API_SHUTDOWN_GRACE_SECONDS\")].value}{\"\n\"}{end}")
  for name in jobqueue-api jobqueue-worker; do
    grep -q "^$name|" <<<"$lines" || because "there is no deployment/$name" || return 1
  done
  bad=$(awk -F'|' 'NF { api = $1 ~ /^jobqueue-api/; drain = api ? ($5 == "" ? 25 : $5) : ($4 == "" ? 50 : $4); after = api ? 5 : 9
    if ($2 + 0 < $3 + drain + after) printf " %s (%s s, but %d + %s + %d)", $1, $2, $3, drain, after }' <<<"$lines")
  [ -z "$bad" ] || because "terminationGracePeriodSeconds is shorter than preStop, drain and exit together:$bad"
}

# In lines `name value`, checks that the given names exist, and that the condition for a fault holds for none.
all_of() { # message if missing, message if wrong, awk condition on the value, lines, names…
  local name bad
  for name in "${@:5}"; do
    grep -q "^$name " <<<"$4" || because "$1 $name" || return 1
  done
  bad=$(awk "{ value = \$2 } NF && $3 { printf \" %s\", \$1 }" <<<"$4")
  [ -z "$bad" ] || because "$2:$bad"
}

autoscalers_active() { retry_until all_autoscalers_active; }
# Also with KEDA, which takes over the workers' autoscaler under the same name.
all_autoscalers_active() {
  local lines
  lines=$(k get hpa -o 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="ScalingActive")].status}{"\n"}{end}')
  all_of "there is no autoscaler" "not active (metrics-server missing?)" 'value != "True"' "$lines" jobqueue-api-hpa jobqueue-worker-hpa
}

disruption_budgets_allow() { retry_until all_budgets_allow; }
# Checks only jobqueue's own budgets. The budget of CloudNativePG's primary allows no disruption on purpose:
# the operator switches over when the node is drained.
all_budgets_allow() {
  local lines ours=app.kubernetes.io/part-of=jobqueue
  lines=$(k get pdb -l "$ours" -o 'jsonpath={range .items[*]}{.metadata.name} {.status.disruptionsAllowed}{"\n"}{end}')
  all_of "there is no PodDisruptionBudget" "a drain of a node would hang at" 'value + 0 < 1' "$lines" jobqueue-api jobqueue-worker
}

service_has_endpoints() {
  local ready
  ready=$(k get endpointslices -l kubernetes.io/service-name=jobqueue-api \
    -o 'jsonpath={range .items[*].endpoints[*]}{.conditions.ready}{"\n"}{end}' | grep -c true)
  [ "$ready" -ge 1 ] || because "service/jobqueue-api has no ready pod"
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
  [ -n "$id" ] || because "POST /v1/jobs returned no job" || return 1
  status=$(call GET "/v1/jobs/$id?wait=30" | field status)
  [ "$status" = completed ] ||
    because "job $id is '$status' after 30 s, not completed (the handler jobqueue.smoke is in k8s/worker-handlers.yaml)"
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
    grep -q "^${pair##*:}" <<<"$page" || because "$pod does not report ${pair##*:}" || return 1
  done
}

prometheus_scrapes() {
  local name targets down
  if [ -z "$prometheus" ]; then
    if ! k -n monitoring get service prometheus-operated >/dev/null 2>&1 || ! forward service/prometheus-operated 9090 monitoring; then
      cannot "no --prometheus and no service monitoring/prometheus-operated: scraping was not checked"
      return 1
    fi
    prometheus=http://127.0.0.1:$forwarded
  fi
  targets=$(curl -s -m 10 -G "$prometheus/api/v1/query" --data-urlencode "query=up{namespace=\"$NAMESPACE\"}" |
    grep -oE '"metric": ?\{[^}]*\}, ?"value": ?\[[^]]*\]')
  for name in jobqueue-api jobqueue-worker jobqueue-reaper; do
    grep -qE "\"pod\": ?\"$name-.*\"1\"\]" <<<"$targets" ||
      because "Prometheus scrapes no pod of $name: is the component servicemonitor installed, and does Prometheus select its monitors?" || return 1
  done
  down=$(grep '"0"\]' <<<"$targets" | field pod)
  [ -z "$down" ] || because "Prometheus does not reach $down"
}

# --- checks that disturb ----------------------------------------------------------------------------------------------------------

# Prints the ids of the jobs in an answer.
ids_in() { grep -oE '"id": ?"[0-9a-f-]{36}"' | cut -d'"' -f4; }
completed_of() { call GET "/v1/jobs?tag=$1&status=completed&limit=1000" | ids_in; } # tag
# A pod of the pool `default` that is not terminating.
worker_pod() {
  k get pods -l app.kubernetes.io/name=jobqueue-worker,app.kubernetes.io/component=worker --field-selector=status.phase=Running \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{"\n"}{end}' | awk 'NF == 1 { print $1; exit }'
}
# Of the jobs whose ids are on stdin: how many were released or lost by one worker and finished by another.
count_moved() {
  sed "s|.*|url = \"$url/v1/jobs/&/attempts\"|" | curl -sS -m 75 -H "@$workdir/key" -w '\n' -K - |
    grep -E '"ended": ?"(released|lost)"' | grep -cE '"ended": ?"completed"'
}

# A pod that is deleted releases the jobs that it has fetched and not started, and finishes the rest. These
# jobs last milliseconds, so the pod may hold none when it is deleted: a round in which no job moved is
# repeated.
worker_loss_survived() {
  local round most=0
  reach_with_key || return 1
  for round in 1 2 3; do
    lose_worker "validate-$$-$RANDOM-$round" || return 1
    if [ "$moved" -gt 0 ]; then
      remark "a deleted pod released $moved jobs, which other pods finished"
      return 0
    fi
    if [ "$held" -gt "$most" ]; then most=$held; fi
  done
  if [ "$most" -eq 0 ]; then
    cannot "all jobs were finished in time, but no deleted pod held a job (see chaos.sh)"
    return 1
  fi
  remark "a deleted pod held $most jobs, which it finished while it drained; other pods finished the rest"
}
# Prints the number of jobs that a deleted pod held, from its log in JSON or plain text.
in_hand() { # log
  sed -nE 's/.*draining.*running"?[:=] ?([0-9]+).*waiting"?[:=] ?([0-9]+).*/\1 \2/p' "$1" | awk '{ sum = $1 + $2 } END { print sum + 0 }'
}

readonly JOBS=500
lose_worker() { # tag; sets `moved` and `held`
  local pod job body stored completed=0 end
  pod=$(worker_pod)
  [ -n "$pod" ] || because "there is no running worker pod" || return 1
  kubectl ${context:+--context "$context"} -n "$NAMESPACE" logs "$pod" --container=worker --follow --tail=0 >"$workdir/log-$1" 2>/dev/null &
  helpers+=($!)
  job="{\"kind\":\"jobqueue.smoke\",\"payload\":null,\"max_attempts\":10,\"tags\":[\"$1\"]}"
  body=$(for _ in $(seq "$JOBS"); do printf '%s,' "$job"; done)
  stored=$(call POST /v1/jobs/batch "{\"jobs\":[${body%,}]}" | ids_in | wc -l)
  k delete pod "$pod" --wait=false >/dev/null || because "cannot delete $pod" || return 1
  [ "$stored" -eq "$JOBS" ] || because "$stored of $JOBS jobs were stored" || return 1
  end=$((SECONDS + 30))
  until [ "$completed" -eq "$JOBS" ] || [ "$SECONDS" -ge "$end" ]; do
    sleep 0.5
    completed=$(completed_of "$1" | wc -l)
  done
  [ "$completed" -eq "$JOBS" ] ||
    because "$((JOBS - completed)) of $JOBS jobs are not completed 30 s after $pod was deleted (tag $1)" || return 1
  moved=$(completed_of "$1" | count_moved) || true
  held=$(in_hand "$workdir/log-$1")
}

# Runs `pg_isready` in a pod with the given label and prints its exit code: 0 if Postgres answers, 2 if it
# does not. -U is needed because the uid of the pod has no user name.
reach_database() { # pod label image host
  local overrides end code=""
  overrides='{"spec":{"automountServiceAccountToken":false,"securityContext":{"runAsNonRoot":true,"runAsUser":65532,
    "seccompProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"'$1'","image":"'$3'","command":["pg_isready","-h","'$4'","-U","postgres","-t","5"],
    "resources":{"requests":{"cpu":"10m","memory":"32Mi"},"limits":{"cpu":"20m","memory":"64Mi"}},
    "securityContext":{"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{"drop":["ALL"]}}}]}}'
  k delete pod "$1" --ignore-not-found --wait=true >/dev/null 2>&1
  k run "$1" --image="$3" --labels="$2" --restart=Never --overrides="$overrides" >/dev/null || return 1
  end=$((SECONDS + 60))
  while [ -z "$code" ] && [ "$SECONDS" -lt "$end" ]; do
    sleep 1
    code=$(k get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state.terminated.exitCode}')
  done
  k delete pod "$1" --wait=false >/dev/null 2>&1
  printf '%s' "${code:-none}"
}

network_policy_effective() {
  local image host code
  if image=$(k get statefulset postgres -o 'jsonpath={.spec.template.spec.containers[0].image}' 2>/dev/null); then
    host=postgres
  elif image=$(k get clusters.postgresql.cnpg.io jobqueue-db -o 'jsonpath={.spec.imageName}' 2>/dev/null); then
    host=jobqueue-db-rw
  else
    cannot "a managed Postgres: the check knows no image with pg_isready and no host"
    return 1
  fi
  # First tries a pod that may connect: otherwise a missing answer would prove nothing. No Service selects the
  # label of the migration.
  code=$(reach_database validate-allowed app.kubernetes.io/name=jobqueue-migration "$image" "$host") ||
    because "cannot start a test pod" || return 1
  [ "$code" = 0 ] || because "a pod that is allowed to connect to $host cannot: exit code of pg_isready: $code" || return 1
  code=$(reach_database validate-intruder app.kubernetes.io/name=validate-intruder "$image" "$host") ||
    because "cannot start a test pod" || return 1
  case "$code" in
    2) return 0 ;;
    0 | 1) because "a pod without jobqueue's labels can connect to $host: does the network plugin enforce NetworkPolicies?" ;;
    *) because "the test pod returned no result: exit code of pg_isready: $code" ;;
  esac
}

# --- running them -----------------------------------------------------------------------------------------------------------

for check in "${CHECKS[@]}"; do
  if [ -n "$only" ] && [[ "$only" != *",$check,"* ]]; then continue; fi
  if [ "$quick" = yes ] && [[ "$DISTURBING" == *" $check "* ]]; then continue; fi
  : >"$workdir/reason"
  rm -f "$workdir"/{skip,remark}
  if "$check" 2>>"$workdir/reason"; then
    passed=$((passed + 1))
    printf '%spass%s  %s%s\n' "$green" "$plain" "${check//_/-}" "$(cat "$workdir/remark" 2>/dev/null)"
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
