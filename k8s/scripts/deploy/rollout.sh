# shellcheck shell=bash
# Part of deploy.sh: the images, the migration, the rollouts, the schedules, and the dry run.

readonly IMAGE_CHECK=jobqueue-image-check
# Reasons with which a container waits if its image cannot be pulled.
readonly NO_IMAGE='ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|RegistryUnavailable|ImageInspectError|SignatureValidationFailed'

# A pod with every image of the manifests. It starts each with --version; the result does not matter.
image_check_pod() {
  local image secrets number=0 workloads
  workloads=$(documents 'Deployment|StatefulSet|Job')
  cat <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: $IMAGE_CHECK
  namespace: $NAMESPACE
  labels: { app.kubernetes.io/name: $IMAGE_CHECK, app.kubernetes.io/part-of: jobqueue }
spec:
  serviceAccountName: jobqueue-migration
  automountServiceAccountToken: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: RuntimeDefault } }
YAML
  secrets=$(awk '/^ *imagePullSecrets:/ { on = 1; next } on && /^ *- name: / { print $3; next } { on = 0 }' <<<"$workloads" | sort -u)
  if [ -n "$secrets" ]; then printf '  imagePullSecrets:\n    - name: %s\n' "${secrets//$'\n'/$'\n    - name: '}"; fi
  printf '  containers:\n'
  sed -nE 's/^ *(- )?image: //p' <<<"$workloads" | sort -u | while read -r image; do
    number=$((number + 1))
    cat <<YAML
    - name: image-$number
      image: $image
      args: [--version]
      resources:
        requests: { cpu: 10m, memory: 32Mi, ephemeral-storage: 16Mi }
        limits: { cpu: 20m, memory: 64Mi, ephemeral-storage: 32Mi }
      securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
YAML
  done
}

end_image_check() { k -n "$NAMESPACE" delete pod "$IMAGE_CHECK" --ignore-not-found --wait="$1" >/dev/null 2>&1 || true; }

# Lines of image|reason|message for the waiting containers of the given pods.
waiting_containers() { # pod or selector…
  local states='{range .status.initContainerStatuses[*]}'$STATE'{end}{range .status.containerStatuses[*]}'$STATE'{end}'
  k -n "$NAMESPACE" get pods "$@" -o "jsonpath={range .items[*]}$states{end}" 2>/dev/null || true
}
readonly STATE='{.image}|{.state.waiting.reason}|{.state.waiting.message}{"\n"}'

# Checks that the cluster can pull the images. With a wrong tag it fails at the first error, before the old
# migration is deleted and before any rollout starts.
check_images() {
  local end=$((SECONDS + timeout)) states bad wanted
  end_image_check true
  image_check_pod >"$workdir/images.yaml"
  wanted=$(grep -c '^    - name: image-' "$workdir/images.yaml")
  if ! k create -f "$workdir/images.yaml" >/dev/null 2>"$workdir/refused"; then
    note "whether the images can be pulled was not checked: $(head -1 "$workdir/refused")"
    return
  fi
  while [ "$SECONDS" -lt "$end" ]; do
    states=$(waiting_containers -l "app.kubernetes.io/name=$IMAGE_CHECK")
    bad=$(awk -F'|' -v reasons="^($NO_IMAGE)\$" '$2 ~ reasons { print $1 ": " $2 ": " $3 }' <<<"$states")
    if [ -n "$bad" ]; then
      end_image_check false
      die "these images cannot be pulled:" "${bad//$'\n'/$'\n     '}" "check --registry and --tag, and that the registry has these images" \
        "a private registry needs imagePullSecrets; no running object was changed"
    fi
    if [ "$(awk -F'|' 'NF > 1 && $2 !~ /^(ContainerCreating|PodInitializing)$/ { count++ } END { print count + 0 }' <<<"$states")" -eq "$wanted" ]; then
      end_image_check false
      ok "every image can be pulled"
      return
    fi
    sleep 1
  done
  end_image_check false
  die "the images were not pulled within $timeout s" "kubectl -n $NAMESPACE get events --field-selector involvedObject.name=$IMAGE_CHECK" \
    "no running object was changed"
}

# A Job cannot be changed: one that failed, or that has another version, must be deleted first. Sets `why`.
migration_must_go() {
  has job jobqueue-migration || return 1
  why="it failed"
  [ "$(k -n "$NAMESPACE" get job jobqueue-migration -o 'jsonpath={.status.conditions[?(@.type=="Failed")].status}')" != True ] || return 0
  why="it is of another version"
  if documents Job/jobqueue-migration | k apply --dry-run=server -f - >/dev/null 2>"$workdir/refused"; then return 1; fi
  grep -q immutable "$workdir/refused"
}

clear_old_migration() {
  if migration_must_go; then
    k -n "$NAMESPACE" delete job jobqueue-migration --wait=true --timeout=120s >/dev/null
    ok "deleted the migration of the last deployment: $why"
  fi
}

# Exits if a new pod waits for an image that its node cannot pull.
stop_without_image() { # selector…
  local bad
  bad=$(waiting_containers "$@" | awk -F'|' -v reasons="^($NO_IMAGE)\$" '$2 ~ reasons { print $1 ": " $2 ": " $3; exit }')
  [ -z "$bad" ] || die "an image cannot be pulled: $bad" "kubectl -n $NAMESPACE get pods -o wide shows on which node"
}

# Waits for the end of a Job. Sets `ended`: Complete, Failed, or nothing if the time is over.
wait_for_job() { # name
  local end=$((SECONDS + timeout)) conditions
  ended=""
  while [ "$SECONDS" -lt "$end" ]; do
    conditions=$(k -n "$NAMESPACE" get job "$1" \
      -o 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}' 2>/dev/null || true)
    case " $conditions" in
      *" Complete "*) ended=Complete; return ;;
      *" Failed "*) ended=Failed; return ;;
    esac
    stop_without_image -l "app.kubernetes.io/name=$1"
    sleep 2
  done
}

wait_for_migration() {
  wait_for_job jobqueue-migration
  case "$ended" in
    Complete) ok "migration done" ;;
    Failed) die "the migration failed" "kubectl -n $NAMESPACE logs job/jobqueue-migration" "then run this script again: it starts the migration again" ;;
    *) die "the migration is not done after $timeout s" "kubectl -n $NAMESPACE get pods" "kubectl -n $NAMESPACE logs job/jobqueue-migration" \
      "kubectl -n $NAMESPACE logs job/jobqueue-migration -c wait-for-database shows what it waits for" ;;
  esac
}

wait_for_rollouts() {
  local workload
  for workload in $(k -n "$NAMESPACE" get deployments -l app.kubernetes.io/part-of=jobqueue -o name); do
    k -n "$NAMESPACE" rollout status "$workload" --timeout="${timeout}s" >/dev/null ||
      die "${workload#*/} is not ready after $timeout s" "kubectl -n $NAMESPACE describe $workload" "kubectl -n $NAMESPACE logs $workload"
    ok "${workload#*/}"
  done
}

# The component schedules.
has_schedules() { [ -n "$(documents Job/jobqueue-schedules)" ]; }

# Applies the file of schedules with every deployment: a schedule that is as in the file is not touched. Then
# deletes the ConfigMaps of earlier files.
apply_schedules() {
  local current said
  k -n "$NAMESPACE" delete job jobqueue-schedules --ignore-not-found --wait=true --timeout=120s >/dev/null
  documents Job/jobqueue-schedules | k apply -f - >/dev/null
  wait_for_job jobqueue-schedules
  if [ "$ended" != Complete ]; then
    said=$(k -n "$NAMESPACE" logs job/jobqueue-schedules --tail=5 2>/dev/null || true)
    die "the schedules of the file are not applied; everything else is deployed" ${said:+"${said//$'\n'/$'\n     '}"} \
      "kubectl -n $NAMESPACE logs job/jobqueue-schedules" "correct the file, then run this script again"
  fi
  current=$(documents ConfigMap | sed -nE 's/^  name: (jobqueue-schedules-.*)/\1/p')
  k -n "$NAMESPACE" delete configmap -l app.kubernetes.io/name=jobqueue-schedules --field-selector "metadata.name!=$current" >/dev/null ||
    note "you have no permission to delete the ConfigMaps of earlier schedules"
  ok "schedules"
}

dry_run() {
  local without=jobqueue-schedules
  step "what would change"
  if ! k get namespace "$NAMESPACE" >/dev/null 2>&1; then
    note "the namespace $NAMESPACE does not exist yet: it, the secret $SECRET and all objects below would be created"
    k apply --dry-run=client -f "$rendered" || note "this list is not complete: see what is missing above"
    return
  fi
  if migration_must_go; then
    note "job/jobqueue-migration would be deleted and created again: $why"
    without="jobqueue-schedules|jobqueue-migration"
  fi
  if has_schedules; then note "job/jobqueue-schedules would run, and apply the file of schedules"; fi
  documents "!Job/($without)" | k diff -f - || differs $?
}

# `kubectl diff` exits with 1 if there are differences.
differs() { # exit code
  [ "$1" -eq 1 ] || note "this difference is not complete: see what is missing above"
}
