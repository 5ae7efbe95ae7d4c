# shellcheck shell=bash
# Part of validate.sh: the checks of the secret. They never print a value.

secret_value() { k get secret jobqueue-secret -o "jsonpath={.data.$1}" 2>/dev/null | base64 -d 2>/dev/null; } # key

# A password that nothing reads, such as POSTGRES_PASSWORD with a managed Postgres, may be the example.
secret_is_real() {
  local key length keys=(API_SECRET_KEY DATABASE_URL DATABASE_URL_POOLED PGBOUNCER_USERLIST)
  if k get statefulset postgres >/dev/null 2>&1; then keys+=(POSTGRES_PASSWORD); fi
  for key in "${keys[@]}"; do
    if [ -n "$(secret_value "$key")" ] && secret_value "$key" | is_placeholder_for "$key"; then
      because "$key is a placeholder or an example value: replace it with a random one, such as the output of openssl rand -hex 24"
      return 1
    fi
  done
  length=$(secret_value API_SECRET_KEY | wc -c)
  [ "$length" -ge 32 ] || because "API_SECRET_KEY has $length characters, not 32 or more"
}

# `kubectl apply` keeps the last applied object in an annotation.
secret_has_no_copy() {
  k get secret jobqueue-secret -o 'jsonpath={.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
    grep -qE '"(stringData|data)":' || return 0
  because "an annotation of jobqueue-secret contains its values, and kubectl describe shows it: kubectl -n $NAMESPACE annotate secret \
jobqueue-secret kubectl.kubernetes.io/last-applied-configuration-; and end k8s/secret-values.yaml as the example ends"
}
