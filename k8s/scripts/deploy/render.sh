# shellcheck shell=bash
# Part of deploy.sh: renders the objects to apply.

# The directory of the overlay: a name in k8s-overlays, or a path, relative to the directory from which the
# script was called.
overlay_directory() {
  if [ -z "$overlay" ]; then
    echo .
  elif [[ "$overlay" != */* ]] && [ -d "../k8s-overlays/$overlay" ]; then
    echo "../k8s-overlays/$overlay"
  elif (cd "$called_from" && cd "$overlay") 2>/dev/null; then
    cd "$called_from" && cd "$overlay" && pwd
  fi
}

render() {
  local directory
  directory=$(overlay_directory)
  [ -n "$directory" ] ||
    die "there is no overlay '$overlay'" "give one of: $(cd ../k8s-overlays && echo *), or the path of a directory with a kustomization.yaml"
  kubectl kustomize "$directory" >"$workdir/plain.yaml" || die "$directory does not render" "$ORDER"
  config_checksums >"$workdir/checksums"
  roll_on_change "$workdir/checksums" "$workdir/plain.yaml" |
    sed -E -e "s#^( *(- )?image: )(jobqueue-(api|worker|reaper)):([^ ]+)\$#\1${registry:+$registry/}\3:${tag:-\5}#" >"$rendered"
}

# For each rendered ConfigMap: its name and its checksum.
config_checksums() {
  local name
  documents ConfigMap "$workdir/plain.yaml" | sed -nE 's/^  name: //p' | while read -r name; do
    printf '%s ' "$name"
    documents ConfigMap "$workdir/plain.yaml" | awk -v name="  name: $name" '
      /^---$/ { if (found) printf "%s", text; text = ""; found = 0; next }
      { text = text $0 "\n" } $0 == name { found = 1 }' | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-16
  done
}

# Writes into each pod template the checksums of the ConfigMaps that it uses. A change of a ConfigMap restarts
# only the pods that use it.
roll_on_change() { # checksums file
  awk '
    FNR == NR { names[++count] = $1; sums[count] = $2; next }
    function flush(  i, value) {
      for (i = 1; i <= count; i++)
        if (text ~ ("\n *(- )?name: " names[i] "\n")) value = value (value == "" ? "" : "-") sums[i]
      gsub(/checksum\/config: [^\n]*/, "checksum/config: " value, text)
      printf "%s", text
      text = ""
    }
    /^---$/ { flush() }
    { text = text $0 "\n" }
    END { flush() }' "$1" "$2"
}

# The documents of a file whose `kind` or `kind/name` matches (or, with a leading !, does not).
documents() { # kinds [file]
  awk -v kinds="$1" '
    function flush() {
      if (text != "" && (kind ~ kinds || kind "/" name ~ kinds) != inverse) printf "%s---\n", text
      text = kind = name = ""
    }
    BEGIN { inverse = sub(/^!/, "", kinds); kinds = "^(" kinds ")$" }
    /^---$/ { flush(); next }
    /^kind: / { kind = $2 }
    /^  name: / && name == "" { name = $2 }
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

# A component patches only objects that were added before it: pools that are added later would use a database
# that does not exist.
check_pools() {
  local pools
  pools=$(pool_databases)
  [ "$(awk '{ print $2 }' <<<"$pools" | sort -u | wc -l)" -le 1 ] ||
    die "the pools of workers would not use the same database:" "${pools//$'\n'/$'\n     '}" \
      "$ORDER"
}
