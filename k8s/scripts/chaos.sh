#!/usr/bin/env bash
# Breaks the parts of a running jobqueue, one after another, while it submits jobs continuously. For each part
# it reports how long submissions were refused, when the first job that was submitted afterwards was finished,
# when all jobs were finished, and how many were lost. Exit code: 0 if no job was lost and every part
# recovered in time, 1 otherwise, 2 if it could not start. Not for a production cluster.
set -uo pipefail
if [ "${BASH_VERSINFO[0]}" -lt 5 ]; then
  echo "needs bash 5 or newer, but this is $BASH_VERSION (on macOS: brew install bash)" >&2
  exit 2
fi

readonly NAMESPACE=jobqueue EXPERIMENTS=(worker_killed api_killed reaper_killed database_killed worker_cut_off node_drained)
# In these experiments the fault lasts until every job is finished: the other workers must finish the jobs of
# the one that is cut off.
readonly LASTING=" worker_cut_off "
# In these experiments the jobs of a lost worker must be reclaimed within a time limit.
readonly RECLAIMED=" worker_killed worker_cut_off "
context="" url="" only="" hooks="" node="" limit=180 cut=45 reclaim=45

usage() {
  cat <<'TEXT'
Usage: k8s/scripts/chaos.sh [options]

  --context NAME   the kubectl context; default: the current one
  --only NAMES     run only these experiments, separated by commas
  --node NAME      the node that node_drained drains (everything on it moves); without it that experiment is skipped
  --limit SECONDS  time within which all jobs of an experiment must be finished (180)
  --cut SECONDS    time within which a worker that is cut off must detect it (45); otherwise the network was not cut
  --reclaim SECONDS
                   time within which the jobs of a killed or cut-off worker must be finished (45: the promised 35, and the time to run and count them)
  --url URL        URL of the API; default: port-forwards to the service, whose restarts add about a second to api_killed
  --hooks FILE     bash functions that replace the experiments, for other platforms than Kubernetes; needs --url
  --list           print the names of the experiments
  -h, --help       this text

The API key is read from JOBQUEUE_API_KEY, or else from the secret jobqueue-secret.
TEXT
}

value_of() { if [ $# -lt 2 ] || [ -z "$2" ]; then echo "$1 needs a value" >&2; exit 2; fi; }
while [ $# -gt 0 ]; do
  case "$1" in
    --context) value_of "$@"; context=$2; shift 2 ;;
    --only) value_of "$@"; only=,$2,; shift 2 ;;
    --node) value_of "$@"; node=$2; shift 2 ;;
    --limit) value_of "$@"; limit=$2; shift 2 ;;
    --reclaim) value_of "$@"; reclaim=$2; shift 2 ;;
    --cut) value_of "$@"; cut=$2; shift 2 ;;
    --url) value_of "$@"; url=${2%/}; shift 2 ;;
    --hooks) value_of "$@"; hooks=$2; shift 2 ;;
    --list) printf '%s\n' "${EXPERIMENTS[@]}"; exit 0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

k() { kubectl ${context:+--context "$context"} -n "$NAMESPACE" "$@"; }
# `cannot`: the experiment has nothing to break here, which is not a failure. `because`: it could not break
# its part, which is a failure.
cannot() { printf '%s\n' "$*" >"$workdir/skip"; return 1; }
because() { printf '%s\n' "$*" >"$workdir/reason"; return 1; }

# --- the experiments: NAME breaks something, NAME_undo repairs it --------------------------------------------------------------

pod_of() { k get pods -l "app.kubernetes.io/name=$1" --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}'; }
# SIGKILL follows a second after SIGTERM. Never --force: Kubernetes would free the name before the process has
# exited, and a second Postgres could start on the same volume.
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

# The policies select pods by the name label of a worker. A pod with another name label may not connect to
# anything, and its Deployment starts a replacement. Some network plugins do not close open connections, so
# the experiment counts only if the worker loses its connection.
worker_cut_off() {
  victim=$(pod_of jobqueue-worker)
  if [ -z "$victim" ]; then because "there is no worker"; return; fi
  if [ -z "$(k get networkpolicy default-deny --ignore-not-found -o name)" ]; then cannot "there is no NetworkPolicy default-deny"; return; fi
  k label pod "$victim" app.kubernetes.io/name=jobqueue-cut-off --overwrite >/dev/null 2>"$workdir/reason"
}
worker_cut_off_seen() {
  local end=$((SECONDS + cut))
  until [ "$(k get pod "$victim" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = False ]; do
    if [ "$SECONDS" -ge "$end" ]; then
      because "$victim is still ready after $cut s: the network plugin does not close open connections, or --cut is too short"
      return
    fi
    sleep 1
  done
}
worker_cut_off_undo() { if [ -n "${victim:-}" ]; then kill_pod "$victim"; fi; }

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
# A port-forward ends with its pod. The next one forwards the same local port, which kubectl chose for the
# first one, to another pod.
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
# Submits a job every tenth of a second, and repeats each with its idempotency key until it is acknowledged.
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
# Reads job ids and prints those that are not completed.
not_completed() { while read -r id; do is_completed "$id" || printf '%s\n' "$id"; done; }

end=$((SECONDS + 30))
until call GET /ready >/dev/null; do
  if [ "$SECONDS" -ge "$end" ]; then echo "the API at $url is not ready" >&2; exit 2; fi
  sleep 0.5
done

# --- one experiment --------------------------------------------------------------------------------------------------------------

# Seconds from the fault until no further submission was refused; 0 if none was refused after the fault.
refused_for() { # fault
  awk -v fault="$1" '$1 > fault && $2 == "refused" { last = $1; after = 0 } $1 > fault && $2 == "accepted" && last && !after { after = $1 }
    END { printf "%.1f", last ? (after ? after : last) - fault : 0 }' "$workdir/attempts"
}

run() { # name
  local name=$1 fault streaming body first="" first_s=- all_s=- left end bad_fault=""
  rm -f "$workdir"/{attempts,ids,skip,reason}
  touch "$workdir"/{attempts,ids,stream}
  stream "$name" &
  streaming=$!
  # The jobs that run and wait when the fault begins.
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
    printf '%-16s  FAILED: %s\n' "$name" "$(grep . "$workdir/reason" 2>/dev/null || echo "the experiment could not break it")"
    return 1
  fi
  if [[ "$LASTING" != *" $name "* ]]; then "$undo"; undo=:; fi
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
  if [[ "$LASTING" == *" $name "* ]]; then
    if ! "${name}_seen"; then printf '%-16s  FAILED: %s\n' "$name" "$(cat "$workdir/reason")"; bad_fault=yes; fi
    "$undo"; undo=:
    [ -z "$bad_fault" ] || return 1
  fi
  printf '%-16s  %7s s  %7s s  %7s s  %12d  %4d\n' "$name" "$(refused_for "$fault")" "$first_s" "$all_s" "$acknowledged" "$lost"
  [ "$lost" -eq 0 ] && [ "$acknowledged" -gt 300 ] || return 1
  if [[ "$RECLAIMED" == *" $name "* ]] && awk -v all="$all_s" -v most="$reclaim" 'BEGIN { exit !(all > most) }'; then
    printf '%-16s  FAILED: the jobs of the worker were not finished within %s s\n' "$name" "$reclaim"
    return 1
  fi
}

bad=0
printf '%-16s  %9s  %9s  %9s  %12s  %4s\n' experiment "refused" "next job" "all jobs" acknowledged lost
for experiment in "${EXPERIMENTS[@]}"; do
  if [ -n "$only" ] && [[ "$only" != *",$experiment,"* ]]; then continue; fi
  run "$experiment" || bad=$((bad + 1))
done
if [ "$bad" -gt 0 ]; then echo "$bad experiments lost jobs, did not finish in time, or broke nothing"; fi
[ "$bad" -eq 0 ]
