#!/usr/bin/env bash
# Breaks a running jobqueue on purpose, part by part, while jobs are submitted all the time, and reports for each part: how long
# submissions were refused, when the first job that was submitted afterwards was finished, when everything was, and what was lost.
# Exit code: 0 nothing was lost and all came back in time, 1 otherwise, 2 it could not begin. Not for a production cluster.
set -uo pipefail
if [ "${BASH_VERSINFO[0]}" -lt 5 ]; then
  echo "needs bash 5 or newer, and this is $BASH_VERSION (on macOS: brew install bash)" >&2
  exit 2
fi

readonly NAMESPACE=jobqueue EXPERIMENTS=(worker_killed api_killed reaper_killed database_killed worker_cut_off node_drained)
context="" url="" only="" hooks="" node="" limit=180 cut=45

usage() {
  cat <<'TEXT'
Usage: k8s/scripts/chaos.sh [options]

  --context NAME   the kubectl context; default: the current one
  --only NAMES     these experiments only, separated by commas
  --node NAME      the node that node_drained drains (everything on it moves); without it that experiment is skipped
  --limit SECONDS  within which all jobs of an experiment must be finished (180)
  --cut SECONDS    for how long worker_cut_off keeps the workers from the database (45)
  --url URL        where the API is; default: port-forwards to the service, whose own restarts add about a second to api_killed
  --hooks FILE     bash functions in place of the experiments' own, for something else than Kubernetes; needs --url
  --list           print the names of the experiments
  -h, --help       this text

The API's key is taken from JOBQUEUE_API_KEY, or else from the secret jobqueue-secret.
TEXT
}

value_of() { if [ $# -lt 2 ] || [ -z "$2" ]; then echo "$1 needs a value" >&2; exit 2; fi; }
while [ $# -gt 0 ]; do
  case "$1" in
    --context) value_of "$@"; context=$2; shift 2 ;;
    --only) value_of "$@"; only=,$2,; shift 2 ;;
    --node) value_of "$@"; node=$2; shift 2 ;;
    --limit) value_of "$@"; limit=$2; shift 2 ;;
    --cut) value_of "$@"; cut=$2; shift 2 ;;
    --url) value_of "$@"; url=${2%/}; shift 2 ;;
    --hooks) value_of "$@"; hooks=$2; shift 2 ;;
    --list) printf '%s\n' "${EXPERIMENTS[@]}"; exit 0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

k() { kubectl ${context:+--context "$context"} -n "$NAMESPACE" "$@"; }
# An experiment that has nothing to break here says so, which is no failure; one that could not break it is one.
cannot() { printf '%s\n' "$*" >"$workdir/skip"; return 1; }
because() { printf '%s\n' "$*" >"$workdir/reason"; return 1; }

# --- the experiments: NAME breaks something, NAME_undo mends it --------------------------------------------------------------

pod_of() { k get pods -l "app.kubernetes.io/name=$1" --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}'; }
# SIGKILL follows a second after SIGTERM. Never --force: the name would be free before the process is gone, and a second Postgres could
# start on the same volume.
kill_pod() {
  if [ -z "$1" ]; then because "there is no such pod"; return; fi
  k delete pod "$1" --grace-period=1 --wait=false >/dev/null 2>"$workdir/reason"
}

worker_killed() { kill_pod "$(pod_of jobqueue-worker)"; }
api_killed() { kill_pod "$(pod_of jobqueue-api)"; }
reaper_killed() { kill_pod "$(pod_of jobqueue-reaper)"; }

database_killed() {
  local primary
  primary=$(k get pods -l cnpg.io/cluster=jobqueue-db,cnpg.io/instanceRole=primary -o 'jsonpath={.items[0].metadata.name}' 2>/dev/null)
  if [ -z "$primary" ]; then primary=$(k get pod postgres-0 -o 'jsonpath={.metadata.name}' 2>/dev/null); fi
  if [ -z "$primary" ]; then cannot "the database is not in this cluster"; else kill_pod "$primary"; fi
}

# Policies only allow, so the one that lets workers out is narrowed for a while. Some network plugins leave connections alone that are
# open already, so it counts only if the workers are missed: the API counts those with a heartbeat in the last 30 s.
worker_cut_off() {
  local before after
  policy=$(k get networkpolicy allow-database-egress allow-database-egress-cnpg allow-pgbouncer-egress --ignore-not-found \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.podSelector.matchExpressions[0].values}{"\n"}{end}' |
    awk '/jobqueue-worker/ { print $1; exit }')
  if [ -z "$policy" ]; then cannot "no NetworkPolicy of ours lets the workers reach the database"; return; fi
  allowed=$(k get networkpolicy "$policy" -o 'jsonpath={.spec.podSelector.matchExpressions[0].values}')
  before=$(workers)
  let_out "$(sed -E 's/"jobqueue-worker",?//; s/,\]/]/' <<<"$allowed")" || { because "cannot change the policy $policy"; return; }
  sleep "$cut"
  after=$(workers)
  [ -n "$before" ] && [ -n "$after" ] || { because "the API does not tell job_queue_workers: nobody knows whether they went"; return; }
  [ "$after" -lt "$before" ] ||
    because "job_queue_workers was $before and is $after after $cut s: the network plugin leaves open connections, or --cut is too short"
}
workers() { call GET /metrics | awk '$1 == "job_queue_workers" { printf "%d", $2 }'; }
worker_cut_off_undo() { if [ -n "${policy:-}" ]; then let_out "$allowed"; fi; }
let_out() { # names, a JSON array
  k patch networkpolicy "$policy" --type=json \
    -p '[{"op":"replace","path":"/spec/podSelector/matchExpressions/0/values","value":'"$1"'}]' >/dev/null
}

node_drained() {
  if [ -z "$node" ]; then cannot "give --node"; return; fi
  k drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout="${limit}s" >/dev/null 2>"$workdir/reason"
}
node_drained_undo() { if [ -n "$node" ]; then k uncordon "$node" >/dev/null; fi; }

# --- begin -----------------------------------------------------------------------------------------------------------------------

workdir=$(mktemp -d) || exit 2
touch "$workdir/go"
background=() undo=:
# shellcheck disable=SC2329 # the trap calls it
clean_up() {
  local pid
  "$undo" || true
  rm -f "$workdir/go"
  for pid in "${background[@]:+${background[@]}}"; do
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  rm -rf "$workdir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

forwarded() { sed -nE 's/^Forwarding from 127\.0\.0\.1:([0-9]+) .*/\1/p' "$workdir/forward" 2>/dev/null | head -1; }
# A forward ends with its pod; the next one goes to another pod from the same port, which kubectl chose for the first.
# shellcheck disable=SC2329 # it runs in the background
keep_forwarding() {
  local forward="" port=""
  trap 'if [ -n "$forward" ]; then kill "$forward"; wait "$forward"; fi 2>/dev/null; exit' TERM
  while [ -e "$workdir/go" ]; do
    kubectl ${context:+--context "$context"} -n "$NAMESPACE" port-forward service/jobqueue-api "$port:80" \
      >"$workdir/forward" 2>/dev/null &
    forward=$!
    wait "$forward"
    port=${port:-$(forwarded)}
    sleep 0.2
  done
}

if [ -n "$hooks" ]; then
  if [ -z "$url" ]; then echo "--hooks needs --url" >&2; exit 2; fi
  # shellcheck source=/dev/null
  . "$hooks" || exit 2
fi
(
  umask 077
  key=${JOBQUEUE_API_KEY:-$(k get secret jobqueue-secret -o 'jsonpath={.data.API_SECRET_KEY}' | base64 -d)}
  [ -n "$key" ] && printf 'Authorization: Bearer %s\n' "$key" >"$workdir/key"
) || { echo "no key: neither JOBQUEUE_API_KEY nor the secret jobqueue-secret" >&2; exit 2; }
if [ -z "$url" ]; then
  keep_forwarding &
  background+=($!)
  end=$((SECONDS + 30))
  until port=$(forwarded) && [ -n "$port" ]; do
    if [ "$SECONDS" -ge "$end" ]; then echo "no port-forward to service/jobqueue-api" >&2; exit 2; fi
    sleep 0.2
  done
  url=http://127.0.0.1:$port
fi

now() { printf '%s' "${EPOCHREALTIME/,/.}"; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f", to - from }'; }
call() { # method path [curl option…]
  curl -sS -f -m 5 -X "$1" -H "@$workdir/key" "${@:3}" "$url$2" 2>/dev/null
}
readonly JOB='{"kind":"jobqueue.smoke","payload":null,"max_attempts":20,"tags":["chaos"]}'
ids_in() { grep -oE '"id": ?"[0-9a-f-]{36}"' | cut -d'"' -f4; }
submit() { # idempotency-key
  call POST /v1/jobs -H 'Content-Type: application/json' -H "Idempotency-Key: $1" --data-binary "$JOB" | ids_in | head -1
}
# A job each tenth of a second, each repeated with its key until it is acknowledged.
stream() { # name
  local number=0 id
  while [ -e "$workdir/stream" ]; do
    number=$((number + 1))
    until id=$(submit "chaos-$$-$1-$number") && [ -n "$id" ]; do
      printf '%s refused\n' "$(now)" >>"$workdir/attempts"
      [ -e "$workdir/stream" ] || return
      sleep 0.1
    done
    printf '%s accepted\n' "$(now)" >>"$workdir/attempts"
    printf '%s\n' "$id" >>"$workdir/ids"
    sleep 0.1
  done
}
is_completed() { call GET "/v1/jobs/$1" | grep -qE '"status": ?"completed"'; }
# Reads ids; prints those that are not completed.
not_completed() { while read -r id; do is_completed "$id" || printf '%s\n' "$id"; done; }

end=$((SECONDS + 30))
until call GET /ready >/dev/null; do
  if [ "$SECONDS" -ge "$end" ]; then echo "the API at $url is not ready" >&2; exit 2; fi
  sleep 0.5
done

# --- one experiment --------------------------------------------------------------------------------------------------------------

# Seconds from the fault until submissions were accepted for good; 0 if none was refused after it.
refused_for() { # fault
  awk -v fault="$1" '$1 > fault && $2 == "refused" { last = $1; after = 0 } $1 > fault && $2 == "accepted" && last && !after { after = $1 }
    END { printf "%.1f", last ? (after ? after : last) - fault : 0 }' "$workdir/attempts"
}

run() { # name
  local name=$1 fault streaming body first="" first_s=- all_s=- left end
  rm -f "$workdir"/{attempts,ids,skip,reason}
  touch "$workdir"/{attempts,ids,stream}
  stream "$name" &
  streaming=$!
  # What was begun and what waits when it breaks.
  body=$(printf "%.0s$JOB," $(seq 1 300))
  call POST /v1/jobs/batch -m 30 -H 'Content-Type: application/json' --data-binary "{\"jobs\":[${body%,}]}" | ids_in >>"$workdir/ids"
  fault=$(now)
  if declare -F "${name}_undo" >/dev/null; then undo=${name}_undo; fi
  if ! "$name"; then
    rm -f "$workdir/stream"
    wait "$streaming"
    "$undo"; undo=:
    if [ -f "$workdir/skip" ]; then
      printf '%-16s  skipped: %s\n' "$name" "$(cat "$workdir/skip")"
      return 0
    fi
    printf '%-16s  FAILED: %s\n' "$name" "$(grep . "$workdir/reason" 2>/dev/null || echo "it could not be broken")"
    return 1
  fi
  "$undo"; undo=:
  end=$((SECONDS + limit))
  until [ -n "$first" ] || [ "$SECONDS" -ge "$end" ]; do first=$(submit "chaos-$$-$name-first"); [ -n "$first" ] || sleep 0.1; done
  if [ -n "$first" ]; then
    printf '%s\n' "$first" >>"$workdir/ids"
    until is_completed "$first" || [ "$SECONDS" -ge "$end" ]; do sleep 0.1; done
    first_s=$(since "$fault")
  fi
  rm -f "$workdir/stream"
  wait "$streaming"
  left=$(sort -u "$workdir/ids")
  local acknowledged lost
  acknowledged=$(grep -c . <<<"$left")
  while :; do
    left=$(not_completed <<<"$left")
    if [ -z "$left" ]; then all_s=$(since "$fault"); lost=0; break; fi
    if [ "$SECONDS" -ge "$end" ]; then lost=$(grep -c . <<<"$left"); break; fi
    sleep 0.5
  done
  printf '%-16s  %7s s  %7s s  %7s s  %12d  %4d\n' "$name" "$(refused_for "$fault")" "$first_s" "$all_s" "$acknowledged" "$lost"
  [ "$lost" -eq 0 ] && [ "$acknowledged" -gt 300 ]
}

bad=0
printf '%-16s  %9s  %9s  %9s  %12s  %4s\n' experiment "refused" "next job" "all jobs" acknowledged lost
for experiment in "${EXPERIMENTS[@]}"; do
  if [ -n "$only" ] && [[ "$only" != *",$experiment,"* ]]; then continue; fi
  run "$experiment" || bad=$((bad + 1))
done
if [ "$bad" -gt 0 ]; then echo "$bad experiments lost jobs, did not end in time, or broke nothing"; fi
[ "$bad" -eq 0 ]
