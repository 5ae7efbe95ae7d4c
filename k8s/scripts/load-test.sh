#!/usr/bin/env bash
# Runs Locust with 1,000 users of six kinds against a running jobqueue. Then prints a verdict (95th
# percentile, share of failures) and how the autoscalers scaled out and in. Exit code: 0 if passed, 1 if
# requests were too slow, too many failed, or the autoscalers did not scale out or back in, 2 if it could not
# start.
set -uo pipefail
if [ "${BASH_VERSINFO[0]}" -lt 5 ]; then
  echo "needs bash 5 or newer, but this is $BASH_VERSION (on macOS: brew install bash)" >&2
  exit 2
fi

readonly NAMESPACE=jobqueue LOAD=jobqueue-load
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
context="" url="" users=1000 rate=50 time=10m image="" kind=jobqueue.smoke pace=1.0 p95=2000 fail_ratio=0.01 hpa=yes scale_in=yes scale_in_timeout=1800

usage() {
  cat <<'TEXT'
Usage: k8s/scripts/load-test.sh [options]

  --context NAME      the kubectl context; default: the current one
  --image IMAGE       image of Locust; default: jobqueue-locust:0.1.0 (docker build -t jobqueue-locust:0.1.0 k8s/locust)
  --users COUNT       number of users (1000)
  --spawn-rate COUNT  users that start each second (50)
  --time DURATION     duration of the test, such as 10m or 90s
  --kind KIND         kind of the jobs; a worker must know it (jobqueue.smoke)
  --pace FACTOR       factor for the pauses of all users (1.0); 0.5 doubles the load
  --p95 MS            limit of the 95th percentile (2000)
  --fail-ratio SHARE  limit of the share of failed requests (0.01)
  --no-hpa            do not require that the workers' autoscaler scales out; without this option it is a failure if it does not
  --no-scale-in       do not wait until workers and API are back at their minimum; without this option it is a failure if they are not
  --scale-in-timeout SECONDS
                      how long they may take (1800)
  --url URL           run without a cluster: `locust` on this machine against this URL, with the key in API_SECRET_KEY
  -h, --help          this text
TEXT
}

value_of() { if [ $# -lt 2 ] || [ -z "$2" ]; then echo "$1 needs a value" >&2; exit 2; fi; }
while [ $# -gt 0 ]; do
  case "$1" in
    --context) value_of "$@"; context=$2; shift 2 ;;
    --image) value_of "$@"; image=$2; shift 2 ;;
    --users) value_of "$@"; users=$2; shift 2 ;;
    --spawn-rate) value_of "$@"; rate=$2; shift 2 ;;
    --time) value_of "$@"; time=$2; shift 2 ;;
    --kind) value_of "$@"; kind=$2; shift 2 ;;
    --pace) value_of "$@"; pace=$2; shift 2 ;;
    --p95) value_of "$@"; p95=$2; shift 2 ;;
    --fail-ratio) value_of "$@"; fail_ratio=$2; shift 2 ;;
    --url) value_of "$@"; url=${2%/}; shift 2 ;;
    --no-hpa) hpa=no; shift ;;
    --no-scale-in) scale_in=no; shift ;;
    --watch-scale-in) scale_in=yes; shift ;;
    --scale-in-timeout) value_of "$@"; scale_in_timeout=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

need() { command -v "$1" >/dev/null || { echo "$1 is not installed" >&2; exit 2; }; }
k() { kubectl ${context:+--context "$context"} "$@"; }

# --- without a cluster --------------------------------------------------------------------------------------------------------

if [ -n "$url" ]; then
  need "${LOCUST:=locust}"
  if [ -z "${API_SECRET_KEY:-}" ]; then echo "API_SECRET_KEY is not set" >&2; exit 2; fi
  LOAD_KIND=$kind LOAD_PACE=$pace LOAD_P95_MS=$p95 LOAD_FAIL_RATIO=$fail_ratio exec "$LOCUST" --locustfile "$here/locust/locustfile.py" \
    --headless --only-summary --loglevel WARNING --host "$url" --users "$users" --spawn-rate "$rate" --run-time "$time" --stop-timeout 15
fi

# --- in the cluster -------------------------------------------------------------------------------------------------------------

need kubectl
k -n "$NAMESPACE" get deployment jobqueue-api >/dev/null || { echo "jobqueue is not installed in this cluster: run k8s/deploy.sh" >&2; exit 2; }

# shellcheck disable=SC2329 # the trap calls it
clean_up() { k delete namespace "$LOAD" --ignore-not-found --wait=false >/dev/null; }
trap clean_up EXIT
k delete namespace "$LOAD" --ignore-not-found --wait=true --timeout=180s >/dev/null || exit 2
k apply -f "$here/locust/namespace.yaml" >/dev/null || exit 2
# Copies the key from one secret into the other through pipes: it is never printed and never an argument.
k -n "$NAMESPACE" get secret jobqueue-secret -o 'jsonpath={.data.API_SECRET_KEY}' | base64 -d |
  k -n "$LOAD" create secret generic locust-key --from-file=API_SECRET_KEY=/dev/stdin >/dev/null || exit 2
kubectl kustomize "$here/locust" |
  sed -E -e "s|^(  LOCUST_USERS: ).*|\1\"$users\"|" -e "s|^(  LOCUST_SPAWN_RATE: ).*|\1\"$rate\"|" \
    -e "s|^(  LOCUST_RUN_TIME: ).*|\1$time|" \
    -e "s|^(  LOAD_KIND: ).*|\1$kind|" -e "s|^(  LOAD_PACE: ).*|\1\"$pace\"|" -e "s|^(  LOAD_P95_MS: ).*|\1\"$p95\"|" \
    -e "s|^(  LOAD_FAIL_RATIO: ).*|\1\"$fail_ratio\"|" ${image:+-e "s|(image: )jobqueue-locust:.*|\1$image|"} |
  k apply -f - >/dev/null || exit 2

# Prints name, current and desired replicas of each autoscaler, one per line.
scalers() {
  k -n "$NAMESPACE" get hpa \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.status.currentReplicas} {.status.desiredReplicas}{"\n"}{end}'
}
current_of() { k -n "$NAMESPACE" get hpa "$1" -o "jsonpath={.status.currentReplicas}"; }
minimum_of() { k -n "$NAMESPACE" get hpa "$1" -o "jsonpath={.spec.minReplicas}"; }
condition_of() { k -n "$LOAD" get job locust-master -o "jsonpath={.status.conditions[?(@.type==\"$1\")].status}"; }

began=$SECONDS seen="" most=0 most_api=0
printf 'seconds  autoscalers (current/desired)\n'
while :; do
  now=$(scalers | awk '{ printf "%s %s/%s  ", $1, $2, $3 }')
  if [ "$now" != "$seen" ]; then printf '%7d  %s\n' $((SECONDS - began)) "$now"; seen=$now; fi
  workers=$(current_of jobqueue-worker-hpa)
  if [ "${workers:-0}" -gt "$most" ]; then most=$workers; fi
  apis=$(current_of jobqueue-api-hpa)
  if [ "${apis:-0}" -gt "$most_api" ]; then most_api=$apis; fi
  if [ "$(condition_of Complete)" = True ]; then verdict=0; break; fi
  if [ "$(condition_of Failed)" = True ]; then verdict=1; break; fi
  if [ $((SECONDS - began)) -gt 7300 ]; then echo "the master does not finish" >&2; verdict=2; break; fi
  sleep 5
done

k -n "$LOAD" logs job/locust-master --tail=60
minimum=$(minimum_of jobqueue-worker-hpa) minimum_api=$(minimum_of jobqueue-api-hpa)
printf 'most worker pods: %d, at least %s\n' "$most" "${minimum:-unknown}"
printf 'most API pods: %d, at least %s\n' "$most_api" "${minimum_api:-unknown}"
if [ "$hpa" = yes ] && ! { [ -n "$minimum" ] && [ "$most" -gt "$minimum" ]; }; then
  echo "jobqueue-worker-hpa did not scale out. Its metrics: kubectl -n $NAMESPACE describe hpa jobqueue-worker-hpa (<unknown> means that"
  echo "metrics-server or the adapter is missing). If the load is too low: more --users, a smaller --pace, a --kind that needs more work"
  verdict=1
fi

if [ "$scale_in" = yes ] && [ "$hpa" = yes ]; then
  began=$SECONDS
  while :; do
    workers=$(current_of jobqueue-worker-hpa) apis=$(current_of jobqueue-api-hpa)
    if [ "$workers" = "$minimum" ] && [ "$apis" = "$minimum_api" ]; then
      printf 'back at %s worker and %s API pods after %d s\n' "$minimum" "$minimum_api" $((SECONDS - began))
      break
    elif [ $((SECONDS - began)) -ge "$scale_in_timeout" ]; then
      printf 'not back at the minimum after %d s: jobqueue-worker-hpa is at %s of %s, jobqueue-api-hpa is at %s of %s\n' \
        $((SECONDS - began)) "$workers" "$minimum" "$apis" "$minimum_api"
      verdict=1
      break
    fi
    sleep 10
  done
fi
exit "$verdict"
