# shellcheck shell=bash
# Part of deploy.sh: checks what the cluster needs before anything is applied.

check_cluster() {
  local minor verb_resource kind_since denied=()
  k version -o json >"$workdir/version" 2>/dev/null ||
    die "the cluster does not answer" "kubectl config current-context says: $(kubectl config current-context 2>&1 || true)"
  ok "cluster: ${context:-$(kubectl config current-context)}"
  minor=$(minor_of serverVersion <"$workdir/version")
  [ "$minor" -ge "$OLDEST_KUBERNETES" ] ||
    missing "the cluster has Kubernetes 1.$minor, but the manifests need 1.$OLDEST_KUBERNETES or newer" \
      "an older version rejects or ignores fields that it does not support: upgrade the cluster first"
  for kind_since in "${NEWER_KINDS[@]}"; do
    if grep -q "^kind: ${kind_since% *}\$" "$rendered" && [ "$minor" -lt "${kind_since#* }" ]; then
      missing "the cluster has Kubernetes 1.$minor, but ${kind_since% *} needs 1.${kind_since#* }" "leave out the component that uses it"
    fi
  done
  for verb_resource in "create namespaces" "create deployments.apps" "create statefulsets.apps" "create jobs.batch" \
    "create networkpolicies.networking.k8s.io" "create secrets"; do
    # shellcheck disable=SC2086 # two words on purpose
    k auth can-i $verb_resource -n "$NAMESPACE" >/dev/null 2>&1 || denied+=("$verb_resource")
  done
  if [ ${#denied[@]} -eq 0 ]; then
    ok "permissions"
  else
    missing "your permissions in $NAMESPACE do not include:$(printf ' %s,' "${denied[@]}" | sed 's/,$//')" \
      "ask for the role 'admin' in it, and for permission to create the namespace"
  fi
  local group unknown=()
  while read -r group; do
    [ -n "$(k api-resources --api-group="$group" --no-headers 2>/dev/null </dev/null)" ] || unknown+=("$group")
  done < <(sed -nE 's|^apiVersion: ([^/]+)/.*|\1|p' "$rendered" | sort -u)
  if [ ${#unknown[@]} -eq 0 ]; then
    ok "every kind of object is known"
  else
    missing "the cluster does not serve these API groups: ${unknown[*]}" "install the operators that '${overlay:-the base}' needs, or leave their components out"
  fi
  if ! k get apiservice v1beta1.metrics.k8s.io >/dev/null 2>&1; then
    note "no metrics-server: the autoscalers will not scale by CPU until it is installed"
  fi
}

# Without a default StorageClass, claims without a class stay Pending. Claims that already exist need no
# default.
check_storage() {
  local claims classes
  claims=$(documents 'StatefulSet|PersistentVolumeClaim|Cluster')
  if ! grep -Eq '^ *storage:' <<<"$claims" || grep -Eq 'storageClass(Name)?:' <<<"$claims"; then return; fi
  [ -z "$(k -n "$NAMESPACE" get pvc -o name 2>/dev/null)" ] || return 0
  if ! classes=$(k get storageclass 2>/dev/null \
    -o 'jsonpath={range .items[*]}{.metadata.annotations.storageclass\.kubernetes\.io/is-default-class}{"\n"}{end}'); then
    note "you have no permission to read StorageClasses: make sure that there is a default one"
  elif grep -q true <<<"$classes"; then
    ok "default StorageClass"
  else
    missing "no StorageClass is the default, and the database's volume names none" \
      "kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true"
  fi
}

# The pooler reads two more keys.
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
      missing "there is no namespace $name, which some objects need" \
        "kubectl create namespace $name, or leave out the component that adds them"
    fi
  done
  if grep -q "name: $credentials\$" "$rendered" && ! has secret "$credentials"; then
    missing "there is no secret $credentials: backups would fail, and the WAL of the database would fill its volume" \
      "kubectl apply -f k8s/namespace.yaml" "put the two values into files, then" \
      "kubectl -n $NAMESPACE create secret generic $credentials --from-file=ACCESS_KEY_ID --from-file=ACCESS_SECRET_KEY"
  fi
}

# Example values in the manifests that must be replaced.
tell_placeholders() {
  local found examples own=()
  case "$(overlay_directory)" in /*) own=("$(overlay_directory)") ;; esac
  mapfile -t examples < <(grep -oE '[a-z0-9.-]+\.example\.com|https://jobqueue\.example/|s3://jobqueue-backup/|10\.0\.0\.1/32|10\.20\.0\.0/24' "$rendered" | sort -u)
  for found in "${examples[@]}"; do
    note "'$found' is an example: replace it with your own value (it is in $(cd .. && grep -rlF --include='*.yaml' -e "$found" k8s k8s-overlays "${own[@]}" | xargs))"
  done
}

# The component managed-postgres: the database is outside of the cluster.
is_managed() { grep -q '^  name: jobqueue-database-ca$' "$rendered"; }

# An apply neither deletes nor copies the old database: the new one would start empty beside it.
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
    note "$old stays unchanged, with its jobs; the new database starts empty"
  else
    missing "the jobs are in $old, and this would start on another database, which is empty" \
      "move them first: $move" "or give --allow-empty-database"
  fi
}

# By a dry run, the API server reports what it would reject, before anything is applied: fields that cannot be
# changed in place (the storage and the selector of a StatefulSet, the selector of a Deployment, a Job, the
# role of a binding), quotas, and what admission denies.
check_changes() {
  local line kind name
  k get namespace "$NAMESPACE" >/dev/null 2>&1 || return 0
  if documents '!Namespace' | k apply --dry-run=server -f - >/dev/null 2>"$workdir/refused"; then
    ok "every object can be changed in place"
    return
  fi
  while IFS= read -r line; do
    case "$line" in
      # Skips warnings, the old Jobs (which are deleted), and what other checks report.
      '' | Warning:* | *jobqueue-migration* | *'"jobqueue-schedules" is invalid'*immutable* | *'no matches for kind'* | 'ensure CRDs'* | *'namespaces "'*'" not found'*) ;;
      '* '*) printf '     %s\n' "$line" >&2 ;;
      *)
        if [[ "$line" =~ ^The\ ([A-Za-z]+)\ \"([^\"]+)\"\ is\ invalid ]]; then
          kind=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]}
          cannot_change "$kind" "$name" "${line#*is invalid: }"
        else
          missing "the cluster would reject this: $line"
        fi
        ;;
    esac
  done <"$workdir/refused"
}

cannot_change() { # kind name message
  local hints=("$3" "is '${overlay:-the base}' what this installation was made with?") live wanted
  case "$1" in
    StatefulSet)
      live=$(k -n "$NAMESPACE" get statefulset "$2" -o 'jsonpath={.spec.volumeClaimTemplates[*].spec.resources.requests.storage}' 2>/dev/null || true)
      wanted=$(documents StatefulSet | sed -nE 's/^ +storage: //p' | xargs)
      if [ "$live" != "$wanted" ]; then hints+=("its volume has $live, and the manifests ask for $wanted"); fi
      hints+=("to change it: kubectl -n $NAMESPACE delete statefulset $2 --cascade=orphan, then run this again"
        "the pod and its volume stay; a volume only grows: kubectl -n $NAMESPACE edit pvc") ;;
    *) hints+=("to change it: kubectl -n $NAMESPACE delete ${1,,} $2, then run this again") ;;
  esac
  missing "$1 $2 cannot be changed in place" "${hints[@]}"
}
