# shellcheck shell=bash
# Part of deploy.sh and validate.sh: detects values that were copied from an example. Never prints a value.

# Whether the value on stdin is a placeholder: a phrase that examples contain, words instead of random
# characters, or few different characters. A random value of 32 characters is not a placeholder.
is_placeholder() {
  awk '
    BEGIN {
      split("secret key api token pass pwd password here least min minimum max maximum character characters chars long random prod " \
        "production dev development test testing demo sample example default insecure unsafe super please string value generate generated " \
        "jobqueue queue postgres postgresql database admin root user very strong secure use not and for only the this that with must " \
        "change replace laptop local localhost", list, " ")
      for (i in list) words[list[i]] = 1
    }
    {
      text = tolower($0)
      if (text ~ /change[-_ .]?(me|this|it)|replace[-_ .]?(me|this|with)|(^|[^a-z])your([^a-z]|$)|example|placeholder|passw[o0]rd|letmein/) found = 1
      if (text ~ /<[^>]*>|[$][{(]|xxxxx|[*][*][*]|[.][.][.]|123456789|abcdefgh|qwerty/) found = 1
      whole = text
      gsub(/[^a-z]/, "", whole)
      if (whole in words) found = 1
      count = split(text, parts, /[^a-z]+/)
      for (i = 1; i <= count; i++) if (parts[i] in words) seen++
      if (seen >= 2) found = 1
      different = 0
      split("", once)
      for (i = 1; i <= length($0); i++) if (!once[substr($0, i, 1)]++) different++
      if (length($0) >= 16 && different < 8) found = 1
      if (length($0) == 0) found = 1
      lines++
    }
    END { exit !(found || !lines) }'
}

# The password of a URL on stdin; nothing if it has none.
password_of_url() { sed -nE 's|^[A-Za-z0-9+]+://[^:/@]*:([^@]*)@.*|\1|p'; }

# Whether the value on stdin, for this key of the secret, is a placeholder.
is_placeholder_for() { # key
  local password
  case "$1" in
    DATABASE_URL*)
      password=$(password_of_url)
      [ -n "$password" ] && is_placeholder <<<"$password" ;;
    PGBOUNCER_USERLIST) sed -E 's/^"[^"]*" +"(.*)"$/\1/' | is_placeholder ;;
    *) is_placeholder ;;
  esac
}
