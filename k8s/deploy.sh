#!/usr/bin/env bash
# Installs or upgrades jobqueue. Safe to run again: it does what is missing. Never prints a secret.
set -euo pipefail
if [ "${BASH_VERSINFO[0]}" -lt 5 ]; then
  echo "needs bash 5 or newer, and this is $BASH_VERSION (on macOS: brew install bash)" >&2
  exit 1
fi
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly NAMESPACE=jobqueue SECRET=jobqueue-secret SECRET_FILE=secret-values.yaml
readonly CHOICE=(
  "--secret keep leaves the cluster's; so does deleting the file, and it is right after a password was changed in the cluster"
  "--secret from-file takes the file's, and restarts the pods; what is in Postgres it does not change"
)
readonly ORDER="the order of components: routed-workers first, then cnpg, pgbouncer or managed-postgres, then the others, limitrange-2to1 last"
overlay="" registry="" tag="" context="" mode=apply generate=no secret_from="" allow_empty=no timeout=600

usage() {
  cat <<'TEXT'
Usage: k8s/deploy.sh [options]

  --overlay NAME       dev, staging or prod; without it the base
  --registry PREFIX    where the images are, for example ghcr.io/acme
  --tag TAG            their tag; default: what the manifests say
  --context NAME       the kubectl context; default: the current one
  --generate-secret    write k8s/secret-values.yaml with random values, if there is no secret yet
  --secret WHICH       where k8s/secret-values.yaml and the cluster have other values: from-file or keep (the cluster's)
  --allow-empty-database
                       go on although the database would be another one than until now, and empty
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
  from-file) [ -f "$SECRET_FILE" ] || die "--secret from-file, and there is no k8s/$SECRET_FILE" ;;
  *) die "--secret is from-file or keep, not $secret_from" ;;
esac

# What an installation needs; a dry run tells it and goes on.
missing() { # what hints…
  [ "$mode" = dry-run ] || die "$@"
  note "$1"
  printf '     %s\n' "${@:2}" >&2
}

# `kubectl` with the chosen context; never one that the user did not mean.
k() { kubectl ${context:+--context "$context"} "$@"; }
has() { k -n "$NAMESPACE" get "$@" >/dev/null 2>&1; }

workdir=$(mktemp -d)
trap 'rm -rf "$workdir"' EXIT
readonly rendered=$workdir/rendered.yaml

check_tools() {
  command -v kubectl >/dev/null || die "kubectl is not installed" "https://kubernetes.io/docs/tasks/tools/"
  local minor
  minor=$(kubectl version --client -o json 2>/dev/null | minor_of clientVersion) || minor=0
  [ "$minor" -ge 27 ] || die "this kubectl is too old, or does not tell its version" "install kubectl 1.27 or newer"
}

# The x of v1.x in what `kubectl version` tells about one side; 0 without an answer.
minor_of() { # clientVersion or serverVersion
  awk -v side="\"$1\"" 'index($0, side) { here = 1 }
    here && !minor && match($0, /"gitVersion": *"v1[.][0-9]+/) { minor = substr($0, RSTART, RLENGTH); sub(/.*[.]/, "", minor) }
    END { print minor + 0 }'
}

render() {
  local directory=.
  if [ -n "$overlay" ]; then
    directory=../k8s-overlays/$overlay
    [ -d "$directory" ] || die "there is no overlay '$overlay'" "there are: $(cd ../k8s-overlays && echo *)"
  fi
  kubectl kustomize "$directory" >"$workdir/plain.yaml" || die "it does not render" "$ORDER"
  # One checksum for the configuration as it is rendered now, whatever overlays and components made of it.
  local checksum
  checksum=$(documents ConfigMap "$workdir/plain.yaml" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-32)
  sed -E -e "s|^( *checksum/config: ).*|\1$checksum|" \
    -e "s#^( *(- )?image: )(jobqueue-(api|worker|reaper)):([^ ]+)\$#\1${registry:+$registry/}\3:${tag:-\5}#" \
    "$workdir/plain.yaml" >"$rendered"
}

# The documents of a file whose `kind` matches (or, with a leading !, does not).
documents() { # kinds [file]
  awk -v kinds="$1" '
    function flush() { if (text != "" && (kind ~ kinds) != inverse) printf "%s---\n", text; text = kind = "" }
    BEGIN { inverse = sub(/^!/, "", kinds); kinds = "^(" kinds ")$" }
    /^---$/ { flush(); next }
    /^kind: / { kind = $2 }
    { text = text $0 "\n" }
    END { flush() }' "${2:-$rendered}"
}

# For each pool of workers: its name, and the secret and key that give it DATABASE_URL.
pool_databases() {
  documents Deployment | awk '
    function volume() { if (worker && url != "") print name, secret "/" url; url = secret = "" }
    /^---$/ { volume(); name = ""; worker = 0 }
    /^  name: / { name = $2 }
    /^    app.kubernetes.io\/name: jobqueue-worker$/ { worker = 1 }
    /^      - / { volume() }
    /- key: / { key = $3 }
    /path: DATABASE_URL$/ { url = key }
    /secretName: / { secret = $NF }
    /^ +name: / && url != "" && secret == "" { secret = $NF }'
}

# A component changes what is there when its turn comes: pools that come later would stay on a database that is not there.
check_pools() {
  local pools
  pools=$(pool_databases)
  [ "$(awk '{ print $2 }' <<<"$pools" | sort -u | wc -l)" -le 1 ] ||
    die "the pools of workers would not use the same database:" "${pools//$'\n'/$'\n     '}" \
      "$ORDER"
}

check_cluster() {
  local minor verb_resource
  k version -o json >"$workdir/version" 2>/dev/null ||
    die "the cluster does not answer" "kubectl config current-context says: $(kubectl config current-context 2>&1 || true)"
  ok "cluster: ${context:-$(kubectl config current-context)}"
  minor=$(minor_of serverVersion <"$workdir/version")
  [ "$minor" -ge 33 ] || missing "the cluster is of Kubernetes 1.$minor, and the manifests ask for 1.33 or newer" \
    "what an older one does not know, it refuses or leaves out in silence: upgrade it first"
  for verb_resource in "create namespaces" "create deployments.apps" "create statefulsets.apps" "create jobs.batch" \
    "create networkpolicies.networking.k8s.io" "create secrets"; do
    # shellcheck disable=SC2086 # two words on purpose
    k auth can-i $verb_resource -n "$NAMESPACE" >/dev/null 2>&1 ||
      die "you may not $verb_resource in $NAMESPACE" "ask for the role 'admin' in it, and for the right to make the namespace"
  done
  ok "permissions"
  local group unknown=()
  while read -r group; do
    [ -n "$(k api-resources --api-group="$group" --no-headers 2>/dev/null </dev/null)" ] || unknown+=("$group")
  done < <(sed -nE 's|^apiVersion: ([^/]+)/.*|\1|p' "$rendered" | sort -u)
  [ ${#unknown[@]} -eq 0 ] ||
    die "the cluster does not know: ${unknown[*]}" "install the operators that '${overlay:-base}' asks for, or leave their components out"
  ok "every kind of object is known"
  if ! k get apiservice v1beta1.metrics.k8s.io >/dev/null 2>&1; then
    note "no metrics-server: the autoscalers will not scale by CPU until it is installed"
  fi
}

# Claims without a class stay Pending for ever where there is no default; those that are there already need none.
check_storage() {
  local claims classes
  claims=$(documents 'StatefulSet|PersistentVolumeClaim|Cluster')
  if ! grep -Eq '^ *storage:' <<<"$claims" || grep -Eq 'storageClass(Name)?:' <<<"$claims"; then return; fi
  [ -z "$(k -n "$NAMESPACE" get pvc -o name 2>/dev/null)" ] || return 0
  if ! classes=$(k get storageclass 2>/dev/null \
    -o 'jsonpath={range .items[*]}{.metadata.annotations.storageclass\.kubernetes\.io/is-default-class}{"\n"}{end}'); then
    note "you may not read StorageClasses: is there a default one?"
  elif grep -q true <<<"$classes"; then
    ok "default StorageClass"
  else
    missing "no StorageClass is the default, and the database's volume names none" \
      "kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true"
  fi
}

# The pooler reads two keys more.
needs_pooler() { grep -q '^ *- key: PGBOUNCER_USERLIST$' "$rendered"; }
check_pooler() {
  local key keys
  needs_pooler || return 0
  keys=$(live_values; if [ "$secret_from" != keep ]; then file_values; fi)
  if [ -z "$keys" ] && [ "$generate" = yes ]; then return; fi
  for key in DATABASE_URL_POOLED PGBOUNCER_USERLIST; do
    grep -q "^$key " <<<"$keys" || missing "secret $SECRET has no $key, which component pgbouncer reads" \
      "put it into k8s/$SECRET_FILE: DATABASE_URL_POOLED is DATABASE_URL with pgbouncer:6432 for the host," \
      "and PGBOUNCER_USERLIST is \"USER\" \"PASSWORD\", with the quotes"
  done
}

check_needs() {
  local name names credentials=jobqueue-backup-credentials
  check_storage
  check_pooler
  mapfile -t names < <(sed -nE 's/^  namespace: //p' "$rendered" | sort -u)
  for name in "${names[@]}"; do
    if [ "$name" != "$NAMESPACE" ] && ! k get namespace "$name" >/dev/null 2>&1; then
      missing "there is no namespace $name, and some objects belong there" \
        "kubectl create namespace $name, or leave out the component that brings them"
    fi
  done
  if grep -q "name: $credentials\$" "$rendered" && ! has secret "$credentials"; then
    missing "there is no secret $credentials: backups would fail, and the log of the database would fill its volume" \
      "kubectl apply -f k8s/00-namespace.yaml" "put the two values into files, then" \
      "kubectl -n $NAMESPACE create secret generic $credentials --from-file=ACCESS_KEY_ID --from-file=ACCESS_SECRET_KEY"
  fi
}

# What the manifests have as an example only.
tell_placeholders() {
  local found examples
  mapfile -t examples < <(grep -oE '[a-z0-9.-]+\.example\.com|https://jobqueue\.example/|s3://jobqueue-backup/|10\.0\.0\.1/32|10\.20\.0\.0/24' "$rendered" | sort -u)
  for found in "${examples[@]}"; do
    note "'$found' is an example: put yours in (it is in $(cd .. && grep -rlF --include='*.yaml' -e "$found" k8s k8s-overlays | xargs))"
  done
}

# The component managed-postgres: the database is outside of the cluster.
is_managed() { grep -q '^  name: jobqueue-database-ca$' "$rendered"; }

# An apply neither takes the old database away nor copies it: the new one would begin empty beside it.
check_database_stays() {
  local wanted old="" move="docs/operations.md, 'Move to CloudNativePG'"
  wanted=$(documents 'StatefulSet|Cluster')
  if is_managed; then
    move="docs/operations.md, 'Move to a managed Postgres'"
    if has statefulset postgres; then old=statefulset/postgres; fi
    if has clusters.postgresql.cnpg.io jobqueue-db; then old=cluster/jobqueue-db; fi
  elif grep -q '^kind: Cluster$' <<<"$wanted" && has statefulset postgres; then
    old=statefulset/postgres
    if has clusters.postgresql.cnpg.io jobqueue-db; then
      note "$old is still there: delete it once the jobs are in jobqueue-db ($move)"
      return
    fi
  elif grep -q '^  name: postgres$' <<<"$wanted" && has clusters.postgresql.cnpg.io jobqueue-db && ! has statefulset postgres; then
    old=cluster/jobqueue-db
  elif has configmap jobqueue-database-ca && ! has statefulset postgres && ! has clusters.postgresql.cnpg.io jobqueue-db; then
    old="the managed database" move="by a dump, then delete configmap/jobqueue-database-ca"
  fi
  [ -n "$old" ] || return 0
  if [ "$allow_empty" = yes ]; then
    note "$old stays as it is, with its jobs; the new database begins empty"
  else
    missing "the jobs are in $old, and this would start on another database, which is empty" \
      "move them first: $move" "or give --allow-empty-database"
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
    if needs_pooler; then
      printf '  DATABASE_URL_POOLED: postgresql://postgres:%s@pgbouncer:6432/jobqueue\n' "$password"
      printf "  PGBOUNCER_USERLIST: '\"postgres\" \"%s\"'\n" "$password"
    fi >>"$SECRET_FILE"
  )
  ok "wrote k8s/$SECRET_FILE with random values (git ignores it; keep it in your vault)"
}

# The values of the secret in the cluster and of the file, as lines of `KEY base64`. Only for comparing: never printed.
live_values() {
  k -n "$NAMESPACE" get secret "$SECRET" --ignore-not-found \
    -o "go-template={{range \$key, \$value := .data}}{{\$key}} {{\$value}}{{\"\\n\"}}{{end}}"
}
# Reads the file as kubectl does, without a cluster: YAML has too many ways to write a text for anything else.
of_file() { kubectl patch --local -f "$SECRET_FILE" --type=merge -p '{}' -o "go-template=$1"; }
file_values() {
  local part key keys value
  [ -f "$SECRET_FILE" ] || return 0
  [ "$(of_file '{{.kind}} {{.metadata.name}}{{"\n"}}')" = "Secret $SECRET" ] || die "k8s/$SECRET_FILE is not one Secret called $SECRET"
  for part in data stringData; do
    keys=$(of_file "{{range \$key, \$value := .$part}}{{\$key}} {{end}}")
    for key in $keys; do
      value="index .$part \"$key\""
      if [ "$part" = data ]; then value="base64decode ($value)"; fi
      value=$(of_file "{{$value}}" | base64 | tr -d '\n') || die "k8s/$SECRET_FILE: $key cannot be read"
      printf '%s %s\n' "$key" "$value"
    done
  done | awk '{ values[$1] = $2 } END { for (key in values) print key, values[key] }'
}

# Sets `differing`: keys of the file that the cluster has with another value, or not at all. What only the cluster has stays as it is.
compare_secrets() {
  (umask 077; live_values >"$workdir/live"; file_values >"$workdir/file")
  differing=$(awk 'FILENAME == ARGV[1] { live[$1] = $2; next } live[$1] != $2 { print $1 }' "$workdir/live" "$workdir/file" | sort | xargs)
}

# The file with `data` alone: what is applied as `stringData` belongs to nobody afterwards. And by the server: an apply by the client keeps
# a copy of the values in an annotation.
apply_file() {
  (umask 077; { printf 'stringData: null\ndata:\n'; sed 's/ /: /; s/^/  /' "$workdir/file"; } >"$workdir/patch")
  kubectl patch --local -f "$SECRET_FILE" --type=merge --patch-file="$workdir/patch" -o yaml |
    k -n "$NAMESPACE" apply --server-side --force-conflicts -f - >/dev/null
}

apply_secret() {
  local before
  before=$(k -n "$NAMESPACE" get secret "$SECRET" --ignore-not-found -o name) || die "you may not read secret $SECRET in $NAMESPACE"
  if [ -n "$before" ]; then
    # the copy that an apply by the client has left
    k -n "$NAMESPACE" annotate secret "$SECRET" kubectl.kubernetes.io/last-applied-configuration- >/dev/null 2>&1 ||
      note "you may not change secret $SECRET: if it was once applied by a client, an annotation of it still has the values"
    if [ ! -f "$SECRET_FILE" ] || [ "$secret_from" = keep ]; then
      ok "secret $SECRET stays as it is"
      return
    fi
  elif [ ! -f "$SECRET_FILE" ]; then
    [ "$generate" = yes ] || die "there is no secret $SECRET and no k8s/$SECRET_FILE" \
      "cp k8s/$SECRET_FILE.example k8s/$SECRET_FILE, and put values in" "or run again with --generate-secret"
    if is_managed; then
      die "nobody here knows the URL of your database" "cp k8s/$SECRET_FILE.example k8s/$SECRET_FILE, and put values in"
    fi
    write_secret
  fi
  if grep -q CHANGE_ME "$SECRET_FILE"; then
    die "k8s/$SECRET_FILE still has a CHANGE_ME"
  fi
  compare_secrets
  if [ -n "$before" ] && [ -n "$differing" ]; then
    [ "$secret_from" = from-file ] || die "k8s/$SECRET_FILE and the secret in the cluster have other values for: $differing" "${CHOICE[@]}"
    secret_changed=yes
  fi
  if [ -n "$differing" ]; then apply_file; fi
  ok "secret $SECRET"
}

# A Job cannot be changed: one that failed, or that is of another version, has to go first. Sets `why`.
migration_must_go() {
  has job jobqueue-migration || return 1
  why="it failed"
  [ "$(k -n "$NAMESPACE" get job jobqueue-migration -o 'jsonpath={.status.conditions[?(@.type=="Failed")].status}')" != True ] || return 0
  why="it is of another version"
  if documents Job | k apply --dry-run=server -f - >/dev/null 2>"$workdir/refused"; then return 1; fi
  grep -q immutable "$workdir/refused"
}

clear_old_migration() {
  if migration_must_go; then
    k -n "$NAMESPACE" delete job jobqueue-migration --wait=true --timeout=120s >/dev/null
    ok "removed the migration of before: $why"
  fi
}

wait_for_migration() {
  local end=$((SECONDS + timeout)) conditions
  while [ "$SECONDS" -lt "$end" ]; do
    conditions=$(k -n "$NAMESPACE" get job jobqueue-migration \
      -o 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}' 2>/dev/null || true)
    case " $conditions" in
      *" Complete "*) ok "migration done"; return ;;
      *" Failed "*) die "the migration failed" "kubectl -n $NAMESPACE logs job/jobqueue-migration" "then run this again: it starts anew" ;;
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

dry_run() {
  step "what would change"
  if ! k get namespace "$NAMESPACE" >/dev/null 2>&1; then
    note "there is no namespace $NAMESPACE yet: it, the secret $SECRET and all of this would be made"
    k apply --dry-run=client -f "$rendered"
    return
  fi
  if ! has secret "$SECRET"; then
    note "there is no secret $SECRET yet: it would be made from k8s/$SECRET_FILE, or by --generate-secret"
  elif [ -f "$SECRET_FILE" ] && [ -z "$secret_from" ]; then
    compare_secrets
    [ -z "$differing" ] || missing "k8s/$SECRET_FILE and the secret in the cluster have other values for: $differing" "${CHOICE[@]}"
  fi
  if migration_must_go; then
    note "job/jobqueue-migration would be deleted and made anew: $why"
    documents '!Job' | k diff -f - || [ $? -eq 1 ]
  else
    k diff -f "$rendered" || [ $? -eq 1 ]
  fi
}

check_tools
render
check_pools
if [ "$mode" = render ]; then
  cat "$rendered"
  exit 0
fi

step "prerequisites"
check_cluster
check_needs
check_database_stays
tell_placeholders
if [ "$mode" = dry-run ]; then
  dry_run
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
