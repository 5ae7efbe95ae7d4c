#!/usr/bin/env bash
# The experiments of k8s/scripts/chaos.sh on the containers of compose.yaml instead of pods.
# shellcheck disable=SC2154,SC2329 # chaos.sh reads this file, gives `cut`, and calls the functions

running() { # service: one of its containers
  "$CHAOS_DOCKER" ps --quiet --filter "label=com.docker.compose.project=$CHAOS_PROJECT" --filter "label=com.docker.compose.service=$1" | head -1
}
kill_it() {
  victim=$(running "$1")
  "$CHAOS_DOCKER" kill "$victim" >/dev/null
}
# Starts a replacement, as a Deployment would.
start_it() { "$CHAOS_DOCKER" start "$victim" >/dev/null; }

worker_killed() { kill_it worker; }
worker_killed_undo() { start_it; }
api_killed() { kill_it api; }
api_killed_undo() { start_it; }
reaper_killed() { kill_it reaper; }
reaper_killed_undo() { start_it; }
database_killed() { kill_it postgres; }
database_killed_undo() { start_it; }

worker_cut_off() {
  victim=$(running worker)
  before=$(workers)
  "$CHAOS_DOCKER" network disconnect "${CHAOS_PROJECT}_default" "$victim"
}
workers() { call GET /metrics | awk '$1 == "job_queue_workers" { printf "%d", $2 }'; }
# The API counts workers with a heartbeat in the last 30 s.
worker_cut_off_seen() {
  local end=$((SECONDS + cut)) after=$before
  until [ "${after:-$before}" -lt "$before" ]; do
    if [ "$SECONDS" -ge "$end" ]; then because "job_queue_workers was $before and is ${after:-unknown} after $cut s"; return; fi
    sleep 1
    after=$(workers)
  done
}
worker_cut_off_undo() { "$CHAOS_DOCKER" network connect --alias worker "${CHAOS_PROJECT}_default" "$victim"; }
node_drained() { cannot "there is one node"; }
