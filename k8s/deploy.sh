#!/usr/bin/env bash
# Installs or upgrades jobqueue. You can run it again: it does the steps that are missing. It never prints a
# secret.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
if [ "${BASH_VERSINFO[0]}" -lt 5 ]; then
  echo "needs bash 5 or newer, but this is $BASH_VERSION (on macOS: brew install bash)" >&2
  exit 1
fi
readonly called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly OLDEST_KUBERNETES=29
# Kinds that need a newer minor version than the oldest supported one, with that version.
readonly NEWER_KINDS=("ValidatingAdmissionPolicy 30" "ValidatingAdmissionPolicyBinding 30")
readonly NAMESPACE=jobqueue SECRET=jobqueue-secret SECRET_FILE=secret-values.yaml
readonly CHOICE=(
  "--secret keep uses the cluster's values, and so does deleting the file; choose it after a password was changed in the cluster"
  "--secret from-file uses the file's values and restarts the pods; it does not change the password in Postgres"
)
readonly ORDER="the order of components: routed-workers first, then cnpg, pgbouncer or managed-postgres, then the others, limitrange-2to1 last"
overlay="" registry="" tag="" context="" mode=apply generate=no secret_from="" allow_empty=no timeout=600

usage() {
  cat <<'TEXT'
Usage: k8s/deploy.sh [options]

  --overlay OVERLAY    dev, staging, prod, or the path of a directory with your own kustomization.yaml; without it the base
  --registry PREFIX    where the images are, for example ghcr.io/acme
  --tag TAG            their tag; default: the tag in the manifests
  --context NAME       the kubectl context; default: the current one
  --generate-secret    write k8s/secret-values.yaml with random values, if there is no secret yet
  --secret WHICH       which values to use if k8s/secret-values.yaml and the cluster differ: from-file or keep (the cluster's)
  --allow-empty-database
                       continue although the database would be a new, empty one
  --timeout SECONDS    how long to wait for each part (600)
  --dry-run            list everything that is missing and what would change, but change nothing; exit code 1 if something is missing
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
    --secret) value_of "$@"; secret_from=$2; shift 2 ;;
    --allow-empty-database) allow_empty=yes; shift ;;
    --dry-run) mode=dry-run; shift ;;
    --render) mode=render; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
done

case "$secret_from" in
  "" | keep) ;;
  from-file) [ -f "$SECRET_FILE" ] || die "--secret from-file needs k8s/$SECRET_FILE, which does not exist" ;;
  *) die "--secret is from-file or keep, not $secret_from" ;;
esac

# Reports something that the installation needs and that is missing. The script lists all of them before it
# exits.
lacking=0
missing() { # what hints…
  lacking=$((lacking + 1))
  printf '%sbad%s  %s\n' "$red" "$plain" "$1" >&2
  if [ $# -gt 1 ]; then printf '     %s\n' "${@:2}" >&2; fi
}
end_if_missing() {
  [ "$lacking" -eq 0 ] || die "$lacking of these would stop the deployment: see the lines with 'bad' above; nothing was applied"
}

# `kubectl` with the chosen context, so that it never uses another one.
k() { kubectl ${context:+--context "$context"} "$@"; }
has() { k -n "$NAMESPACE" get "$@" >/dev/null 2>&1; }

workdir=$(mktemp -d)
trap 'rm -rf "$workdir"' EXIT
readonly rendered=$workdir/rendered.yaml

check_tools() {
  command -v kubectl >/dev/null || die "kubectl is not installed" "https://kubernetes.io/docs/tasks/tools/"
  local minor
  minor=$(kubectl version --client -o json 2>/dev/null | minor_of clientVersion) || minor=0
  [ "$minor" -ge 27 ] || die "this kubectl is too old, or does not print its version" "install kubectl 1.27 or newer"
}

# The minor version of the client or the server from `kubectl version`; 0 without an answer.
minor_of() { # clientVersion or serverVersion
  awk -v side="\"$1\"" 'index($0, side) { here = 1 }
    here && !minor && match($0, /"gitVersion": *"v1[.][0-9]+/) { minor = substr($0, RSTART, RLENGTH); sub(/.*[.]/, "", minor) }
    END { print minor + 0 }'
}

. scripts/placeholders.sh
. scripts/deploy/render.sh
. scripts/deploy/checks.sh
. scripts/deploy/secret.sh
. scripts/deploy/rollout.sh

check_tools
render
check_pools
if [ "$mode" = render ]; then
  cat "$rendered"
  exit 0
fi

step "prerequisites"
check_cluster
check_secret
check_needs
check_database_stays
check_changes
tell_placeholders
if [ "$mode" = dry-run ]; then dry_run; fi
end_if_missing
if [ "$mode" = dry-run ]; then exit 0; fi

step "namespace and secret"
documents Namespace | k apply -f - >/dev/null
ok "namespace $NAMESPACE"
secret_changed=no
apply_secret

step "images"
# The ServiceAccounts may contain the credentials of a registry.
documents ServiceAccount | k apply -f - >/dev/null
check_images

# Migrates the schema first: binaries refuse a schema that is too old, but work with one that is a release
# newer.
step "database and migration"
clear_old_migration
documents '!(Deployment|HorizontalPodAutoscaler|ScaledObject|Job/jobqueue-schedules)' | k apply -f - >/dev/null
ok "configuration, database, network policies"
wait_for_migration

step "API, workers, reaper"
documents '!Job/jobqueue-schedules' >"$workdir/parts.yaml"
k apply -f "$workdir/parts.yaml" >/dev/null
if [ "$secret_changed" = yes ]; then
  k -n "$NAMESPACE" rollout restart deployment -l app.kubernetes.io/part-of=jobqueue >/dev/null
  note "the secret changed: the pods are restarted, because they read it only at start"
fi
wait_for_rollouts

# Last, because the API of the release before may not know every field of the file.
if has_schedules; then
  step "schedules"
  apply_schedules
fi

step "done"
printf '     check it:  k8s/validate.sh%s\n' "${context:+ --context $context}" >&2
printf '     reach it:  kubectl -n %s port-forward service/jobqueue-api 8000:80\n' "$NAMESPACE" >&2
