# shellcheck shell=bash
# Part of deploy.sh: the secret in the cluster, and the file that it is created from. Never prints a value.

# 36 random bytes, as text without characters that must be escaped in a URL.
random_text() { head -c 36 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_'; }

write_secret() {
  local password key
  password=$(random_text) key=$(random_text)
  (
    umask 077
    if needs_pooler; then
      printf '  DATABASE_URL_POOLED: postgresql://postgres:%s@pgbouncer:6432/jobqueue\n' "$password"
      printf "  PGBOUNCER_USERLIST: '\"postgres\" \"%s\"'\n" "$password"
    fi >"$workdir/pooler"
    sed -e '1,/^apiVersion/{/^#/d;}' -e "s|postgres:CHANGE_ME@|postgres:$password@|" -e "s|^\( *API_SECRET_KEY: \)CHANGE_ME|\1$key|" \
      -e "s|^\( *POSTGRES_PASSWORD: \)CHANGE_ME|\1$password|" "$SECRET_FILE.example" |
      sed -e "/POSTGRES_PASSWORD: /r $workdir/pooler" >"$SECRET_FILE"
  )
  ok "wrote k8s/$SECRET_FILE with random values (git ignores it; keep it in a safe place)"
}

# The values of the secret in the cluster and of the file, as lines of `KEY base64`. Used only for comparison,
# never printed.
live_values() {
  k -n "$NAMESPACE" get secret "$SECRET" --ignore-not-found \
    -o "go-template={{range \$key, \$value := .data}}{{\$key}} {{\$value}}{{\"\\n\"}}{{end}}"
}
# Reads a file with kubectl, without a cluster, because YAML has too many notations for a text to parse it in
# any other way.
read_yaml() { kubectl patch --local -f "$1" --type=merge -p '{}' -o "go-template=$2"; } # file template
of_file() { read_yaml "$workdir/secret.yaml" "$1"; }
# The file is one Secret with values, and may have the same Secret without values after it (the example says why).
check_file() {
  local documents='{{.kind}} {{.metadata.name}}{{if .data}} data{{end}}{{if .stringData}} stringData{{end}}{{"\n"}}'
  case "$(read_yaml "$SECRET_FILE" "$documents")" in
    "Secret $SECRET"*$'\n'"Secret $SECRET "*) die "k8s/$SECRET_FILE is not exactly one Secret called $SECRET" ;;
    "Secret $SECRET"*" data"*$'\n'"Secret $SECRET") die "k8s/$SECRET_FILE has values under 'data' and a second document" \
      "\`kubectl apply\` would remove these values: put them under 'stringData', as in k8s/$SECRET_FILE.example" ;;
    "Secret $SECRET" | "Secret $SECRET "* | "Secret $SECRET"*$'\n'"Secret $SECRET") ;;
    *) die "k8s/$SECRET_FILE is not exactly one Secret called $SECRET" ;;
  esac
  (umask 077; awk '/^---/ && text { exit } !/^ *(#|$)/ { text = 1 } { print }' "$SECRET_FILE" >"$workdir/secret.yaml")
}
file_values() {
  local part key keys value
  [ -f "$SECRET_FILE" ] || return 0
  check_file
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

# Sets `differing`: keys of the file that the cluster has with another value or not at all. Keys that only the
# cluster has are not changed.
compare_secrets() {
  (umask 077; live_values >"$workdir/live"; file_values >"$workdir/file")
  differing=$(awk 'FILENAME == ARGV[1] { live[$1] = $2; next } live[$1] != $2 { print $1 }' "$workdir/live" "$workdir/file" | sort | xargs)
}

# Applies the file with `data` only, because a field manager does not own what it applied as `stringData`.
# Uses server-side apply, because client-side apply keeps a copy of the values in an annotation.
apply_file() {
  (umask 077; { printf 'stringData: null\ndata:\n'; sed 's/ /: /; s/^/  /' "$workdir/file"; } >"$workdir/patch")
  kubectl patch --local -f "$workdir/secret.yaml" --type=merge --patch-file="$workdir/patch" -o yaml |
    k -n "$NAMESPACE" apply --server-side --force-conflicts -f - >/dev/null
}

# Keys of the file whose values are placeholders.
placeholders_in_file() {
  local key value
  file_values | while read -r key value; do
    if base64 -d <<<"$value" | is_placeholder_for "$key"; then echo "$key"; fi
  done | sort | xargs
}

# Reports faults of the secret before anything is applied.
check_secret() {
  local before found
  if ! before=$(k -n "$NAMESPACE" get secret "$SECRET" --ignore-not-found -o name 2>/dev/null); then
    missing "you have no permission to read secret $SECRET in $NAMESPACE" "ask for the role 'admin' in it"
  elif [ -f "$SECRET_FILE" ] && { [ -z "$before" ] || [ "$secret_from" != keep ]; }; then
    found=$(placeholders_in_file)
    [ -z "$found" ] || missing "k8s/$SECRET_FILE still has placeholders, such as CHANGE_ME or YOUR_PASSWORD: $found" \
      "replace them with random values, such as the output of: openssl rand -hex 24"
    compare_secrets
    [ -z "$before" ] || [ -z "$differing" ] || [ "$secret_from" = from-file ] ||
      missing "k8s/$SECRET_FILE and the secret in the cluster have different values for: $differing" "${CHOICE[@]}"
  elif [ -n "$before" ]; then
    ok "secret $SECRET"
  elif [ "$generate" != yes ]; then
    missing "there is no secret $SECRET and no k8s/$SECRET_FILE" \
      "cp k8s/$SECRET_FILE.example k8s/$SECRET_FILE, and fill in the values" "or run again with --generate-secret"
  elif is_managed; then
    missing "the script does not know the URL of your database" "cp k8s/$SECRET_FILE.example k8s/$SECRET_FILE, and fill in the values"
  fi
}

apply_secret() {
  if has secret "$SECRET"; then
    # the copy of the values that a client-side apply has left
    k -n "$NAMESPACE" annotate secret "$SECRET" kubectl.kubernetes.io/last-applied-configuration- >/dev/null 2>&1 ||
      note "you have no permission to change secret $SECRET: if it was ever applied on the client side, its annotation still contains the values"
    if [ ! -f "$SECRET_FILE" ] || [ "$secret_from" = keep ]; then
      ok "secret $SECRET stays unchanged"
      return
    fi
    compare_secrets
    if [ -n "$differing" ]; then secret_changed=yes; fi
  else
    [ -f "$SECRET_FILE" ] || write_secret
    compare_secrets
  fi
  if [ -n "$differing" ]; then apply_file; fi
  ok "secret $SECRET"
}
