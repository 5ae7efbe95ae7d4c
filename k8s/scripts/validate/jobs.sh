# shellcheck shell=bash
# Part of validate.sh: the ends of the Jobs.

migration_done() {
  local succeeded
  succeeded=$(k get job jobqueue-migration -o 'jsonpath={.status.succeeded}' 2>/dev/null) ||
    { cannot "the Job no longer exists: it is removed a day after its end; api_ready checks whether the schema is supported"; return 1; }
  [ "${succeeded:-0}" -ge 1 ] || because "job/jobqueue-migration has not succeeded: kubectl -n $NAMESPACE logs job/jobqueue-migration"
}

schedules_applied() {
  k get job jobqueue-schedules >/dev/null 2>&1 ||
    { cannot "no job/jobqueue-schedules: the component schedules is not used, or the Job ended more than a day ago"; return 1; }
  retry_until job_of_schedules_succeeded
}
job_of_schedules_succeeded() {
  local succeeded
  succeeded=$(k get job jobqueue-schedules -o 'jsonpath={.status.succeeded}')
  [ "${succeeded:-0}" -ge 1 ] ||
    because "job/jobqueue-schedules has not applied the file: kubectl -n $NAMESPACE logs job/jobqueue-schedules"
}
