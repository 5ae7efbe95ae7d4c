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
# What a Deployment does by itself: another one in its place.
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
  "$CHAOS_DOCKER" network disconnect "${CHAOS_PROJECT}_default" "$victim"
  sleep "$cut"
}
worker_cut_off_undo() { "$CHAOS_DOCKER" network connect --alias worker "${CHAOS_PROJECT}_default" "$victim"; }
node_drained() { cannot "there is one node"; }
