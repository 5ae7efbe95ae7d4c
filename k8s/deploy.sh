#!/usr/bin/env bash
# Installs or upgrades jobqueue. Safe to run again: it does what is missing. Never prints a secret.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly NAMESPACE=jobqueue SECRET=jobqueue-secret SECRET_FILE=secret-values.yaml
overlay="" registry="" tag="" context="" mode=apply generate=no timeout=600

usage() {
  cat <<'TEXT'
Usage: k8s/deploy.sh [options]

  --overlay NAME       dev, staging or prod; without it the base
  --registry PREFIX    where the images are, for example ghcr.io/acme
  --tag TAG            their tag; default: what the manifests say
  --context NAME       the kubectl context; default: the current one
  --generate-secret    write k8s/secret-values.yaml with random values, if there is no secret yet
  --timeout SECONDS    how long to wait for each part (600)
  --dry-run            ask the cluster what would change, and change nothing
  --render             print the objects; needs no cluster
  -h, --help           this text
TEXT
}

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
  red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' bold=$'\e[1m' plain=$'\e[0m'
else
  red="" green="" yellow="" bold="" plain=""
fi
step() { printf '%s== %s%s\n' "$bold" "$*" "$plain" >&2; }
ok() { printf '%s ok%s  %s\n' "$green" "$plain" "$*" >&2; }
note() { printf '%s  !%s  %s\n' "$yellow" "$plain" "$*" >&2; }
die() {
  printf '%sbad%s  %s\n' "$red" "$plain" "$1" >&2
  if [ $# -gt 1 ]; then printf '     %s\n' "${@:2}" >&2; fi
  exit 1
}

value_of() { [ $# -ge 2 ] && [ -n "$2" ] || die "$1 needs a value"; }
while [ $# -gt 0 ]; do
  case "$1" in
    --overlay) value_of "$@"; overlay=$2; shift 2 ;;
    --registry) value_of "$@"; registry=${2%/}; shift 2 ;;
    --tag) value_of "$@"; tag=$2; shift 2 ;;
    --context) value_of "$@"; context=$2; shift 2 ;;
    --timeout) value_of "$@"; timeout=$2; shift 2 ;;
    --generate-secret) generate=yes; shift ;;
    --dry-run) mode=dry-run; shift ;;
    --render) mode=render; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
done

# `kubectl` with the chosen context; never one that the user did not mean.
k() { kubectl ${context:+--context "$context"} "$@"; }

workdir=$(mktemp -d)
trap 'rm -rf "$workdir"' EXIT
readonly rendered=$workdir/rendered.yaml

check_tools() {
  command -v kubectl >/dev/null || die "kubectl is not installed" "https://kubernetes.io/docs/tasks/tools/"
  kubectl version --client -o json 2>/dev/null | grep -Eq '"kustomizeVersion": *"v?[4-9]' ||
    die "this kubectl is too old to render components" "install kubectl 1.27 or newer"
}

render() {
  local directory=.
  if [ -n "$overlay" ]; then
    directory=../k8s-overlays/$overlay
    [ -d "$directory" ] || die "there is no overlay '$overlay'" "there are: $(cd ../k8s-overlays && echo *)"
  fi
  kubectl kustomize "$directory" >"$workdir/plain.yaml"
  # One checksum for the configuration as it is rendered now, whatever overlays and components made of it.
  local checksum
  checksum=$(awk 'BEGIN { RS = "---\n"; ORS = RS } /(^|\n)kind: ConfigMap(\n|$)/' "$workdir/plain.yaml" | sha256sum | cut -c1-32)
  sed -E -e "s|^( *checksum/config: ).*|\1$checksum|" \
    -e "s|^( *(- )?image: )(jobqueue-(api\|worker\|reaper)):([^ ]+)\$|\1${registry:+$registry/}\3:${tag:-\5}|" \
    "$workdir/plain.yaml" >"$rendered"
}

# The documents of the rendered file whose `kind` matches (or, with a leading !, does not).
documents() {
  awk -v pattern="$1" 'BEGIN { RS = "---\n"; ORS = RS; inverse = sub(/^!/, "", pattern) }
    { found = $0 ~ ("(^|\n)kind: (" pattern ")(\n|$)"); if (found != inverse) print }' "$rendered"
}

check_cluster() {
  k version -o json >/dev/null 2>&1 ||
    die "the cluster does not answer" "kubectl config current-context says: $(kubectl config current-context 2>&1 || true)"
  ok "cluster: ${context:-$(kubectl config current-context)}"
  local verb_resource
  for verb_resource in "create namespaces" "create deployments.apps" "create statefulsets.apps" "create jobs.batch" \
    "create networkpolicies.networking.k8s.io" "create secrets"; do
    # shellcheck disable=SC2086 # two words on purpose
    k auth can-i $verb_resource -n "$NAMESPACE" >/dev/null 2>&1 ||
      die "you may not $verb_resource in $NAMESPACE" "ask for the role 'admin' in it, and for the right to make the namespace"
  done
  ok "permissions"
  local group missing=()
  while read -r group; do
    [ -n "$(k api-resources --api-group="$group" --no-headers 2>/dev/null </dev/null)" ] || missing+=("$group")
  done < <(sed -nE 's|^apiVersion: ([^/]+)/.*|\1|p' "$rendered" | sort -u)
  [ ${#missing[@]} -eq 0 ] ||
    die "the cluster does not know: ${missing[*]}" "install the operators that '${overlay:-base}' asks for, or leave their components out"
  ok "every kind of object is known"
  if ! k get apiservice v1beta1.metrics.k8s.io >/dev/null 2>&1; then
    note "no metrics-server: the autoscalers will not scale by CPU until it is installed"
  fi
}

# 36 random bytes, as text without characters that a URL would have to escape.
random_text() { head -c 36 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_'; }

write_secret() {
  local password key
  password=$(random_text) key=$(random_text)
  (
    umask 077
    sed -e "s|postgres:CHANGE_ME@|postgres:$password@|" -e "s|^\( *API_SECRET_KEY: \)CHANGE_ME|\1$key|" \
      -e "s|^\( *POSTGRES_PASSWORD: \)CHANGE_ME|\1$password|" "$SECRET_FILE.example" | grep -v '^#' >"$SECRET_FILE"
  )
  ok "wrote k8s/$SECRET_FILE with random values (git ignores it; keep it in your vault)"
}

apply_secret() {
  local before after
  before=$(k -n "$NAMESPACE" get secret "$SECRET" -o 'jsonpath={.metadata.resourceVersion}' 2>/dev/null || true)
  if [ ! -f "$SECRET_FILE" ]; then
    if [ -n "$before" ]; then
      ok "secret $SECRET is there already"
      return
    fi
    [ "$generate" = yes ] || die "there is no secret $SECRET and no k8s/$SECRET_FILE" \
      "cp k8s/$SECRET_FILE.example k8s/$SECRET_FILE, and put values in" "or run again with --generate-secret"
    write_secret
  fi
  if grep -q CHANGE_ME "$SECRET_FILE"; then
    die "k8s/$SECRET_FILE still has a CHANGE_ME"
  fi
  k apply -f "$SECRET_FILE" >/dev/null
  after=$(k -n "$NAMESPACE" get secret "$SECRET" -o 'jsonpath={.metadata.resourceVersion}')
  secret_changed=no
  if [ -n "$before" ] && [ "$before" != "$after" ]; then secret_changed=yes; fi
  ok "secret $SECRET"
}

# A Job is immutable: one of another version has to go first.
clear_old_migration() {
  local now wanted
  now=$(k -n "$NAMESPACE" get job jobqueue-migration -o 'jsonpath={.spec.template.spec.containers[0].image}' 2>/dev/null || true)
  wanted=$(documents Job | sed -nE 's/^ *(- )?image: //p' | head -1)
  if [ -n "$now" ] && [ "$now" != "$wanted" ]; then
    k -n "$NAMESPACE" delete job jobqueue-migration --wait=true --timeout=120s >/dev/null
    ok "removed the migration of $now"
  fi
}

wait_for_migration() {
  local end=$((SECONDS + timeout)) conditions
  while [ "$SECONDS" -lt "$end" ]; do
    conditions=$(k -n "$NAMESPACE" get job jobqueue-migration \
      -o 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}' 2>/dev/null || true)
    case " $conditions" in
      *" Complete "*) ok "migration done"; return ;;
      *" Failed "*) die "the migration failed" "kubectl -n $NAMESPACE logs job/jobqueue-migration" ;;
    esac
    sleep 2
  done
  die "the migration is not done after $timeout s" "kubectl -n $NAMESPACE get pods" "kubectl -n $NAMESPACE logs job/jobqueue-migration" \
    "is Postgres up? kubectl -n $NAMESPACE get statefulset,pvc"
}

wait_for_rollouts() {
  local workload
  for workload in $(k -n "$NAMESPACE" get deployments -l app.kubernetes.io/part-of=jobqueue -o name); do
    k -n "$NAMESPACE" rollout status "$workload" --timeout="${timeout}s" >/dev/null ||
      die "${workload#*/} is not ready after $timeout s" "kubectl -n $NAMESPACE describe $workload" "kubectl -n $NAMESPACE logs $workload"
    ok "${workload#*/}"
  done
}

check_tools
render
if [ "$mode" = render ]; then
  cat "$rendered"
  exit 0
fi

step "prerequisites"
check_cluster
if [ "$mode" = dry-run ]; then
  step "what would change"
  k diff -f "$rendered" || [ $? -eq 1 ]
  exit 0
fi

step "namespace and secret"
documents Namespace | k apply -f - >/dev/null
ok "namespace $NAMESPACE"
secret_changed=no
apply_secret

# The schema first: binaries refuse one that is too old, and work with one that is a release newer.
step "database and migration"
clear_old_migration
documents '!(Deployment|HorizontalPodAutoscaler|ScaledObject)' | k apply -f - >/dev/null
ok "configuration, database, network policies"
wait_for_migration

step "API, workers, reaper"
k apply -f "$rendered" >/dev/null
if [ "$secret_changed" = yes ]; then
  k -n "$NAMESPACE" rollout restart deployment -l app.kubernetes.io/part-of=jobqueue >/dev/null
  note "the secret changed: the pods are restarted, since they read it once"
fi
wait_for_rollouts

step "done"
printf '     check it:  k8s/validate.sh%s\n' "${context:+ --context $context}" >&2
printf '     reach it:  kubectl -n %s port-forward service/jobqueue-api 8000:80\n' "$NAMESPACE" >&2
