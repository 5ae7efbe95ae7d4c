//! Commands to workers: sent by operators, delivered in the answers to heartbeats until they are acknowledged. Owns their rows; a worker
//! decides what a command does.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use jobqueue_core::{ControlCommand, Json, KindName, QueueName, WorkerId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::verbs::audit::Change;

/// Maximum number of workers that one call sends a command to.
const MAX_WORKERS: i64 = 1000;
/// Maximum number of commands of one worker that wait for its acknowledgement.
const MAX_OPEN: i64 = 100;
/// Maximum number of commands of one worker that are shown.
const SHOWN: i64 = 100;

/// The workers that a command is for. Only live workers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandTargets {
    /// This one.
    Worker(WorkerId),
    /// All that match.
    Matching(WorkerFilter),
}

/// A worker matches if every field that is set matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerFilter {
    /// It leases from this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// It leases this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<KindName>,
    /// It has this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its name matches: `*` stands for any text, `?` for one character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A worker that a command was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandedWorker {
    /// Its id.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// The command's id, and when it was stored. `None` in a dry run, and if too many commands of this worker wait for its acknowledgement.
    pub sent: Option<(i64, DateTime<Utc>)>,
}

/// A command in the answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentCommand {
    /// Its id. The same command may be delivered again.
    pub id: i64,
    /// Its name.
    pub command: String,
    /// Its arguments, a JSON object.
    pub arguments: String,
}

/// The acknowledgement of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandAnswer {
    /// The command.
    pub id: i64,
    /// The worker's answer, or why it did not carry out the command.
    pub outcome: Result<Json, String>,
}

/// A stored command.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRecord {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub command: String,
    /// Its arguments, a JSON object.
    pub arguments: Json,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it was first sent to the worker.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When the worker's answer arrived.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// The worker's answer, if it carried out the command.
    pub result: Option<Json>,
    /// Why the worker did not carry it out.
    pub error: Option<String>,
}

impl Store {
    /// Stores a command for each live worker that it is for, and hints that they should send heartbeats. Returns these workers. A dry run
    /// stores nothing. `None`: more than 1000 workers match, and nothing is stored.
    pub async fn command_workers(
        &self,
        targets: &CommandTargets,
        command: &ControlCommand,
        dry_run: bool,
    ) -> Result<Option<Vec<CommandedWorker>>, StoreError> {
        let (id, filter) = match targets {
            CommandTargets::Worker(id) => (Some(id.as_uuid()), WorkerFilter::default()),
            CommandTargets::Matching(filter) => (None, filter.clone()),
        };
        let arguments = command.arguments();
        let mut unit = self.begin().await?;
        let rows = sqlx::query!(
            r#"-- store.command.send
            WITH matched AS MATERIALIZED (
                SELECT w.id, w.name FROM jobqueue.live_worker w
                WHERE ($1::uuid IS NULL OR w.id = $1) AND ($2::text IS NULL OR $2 = ANY (w.queues))
                  AND ($3::text IS NULL OR w.kinds = '{}' OR $3 = ANY (w.kinds))
                  AND ($4::text IS NULL OR w.version = $4) AND ($5::text IS NULL OR w.name LIKE $5)
                LIMIT $9::bigint + 1),
            sent AS (
                INSERT INTO jobqueue.worker_command (worker_id, command, arguments, created_at)
                SELECT m.id, $6, $7::text::json, jobqueue.now() FROM matched m
                WHERE NOT $8 AND (SELECT count(*) FROM matched) <= $9
                  AND (SELECT count(*) FROM jobqueue.worker_command c WHERE c.worker_id = m.id AND c.acknowledged_at IS NULL) < $10
                RETURNING id, worker_id, created_at)
            SELECT m.id AS "id!", m.name AS "name!", s.id AS "command_id?", s.created_at AS "created_at?"
            FROM matched m LEFT JOIN sent s ON s.worker_id = m.id ORDER BY m.name COLLATE "C", m.id"#,
            id,
            filter.queue.as_ref().map(QueueName::as_str),
            filter.kind.as_ref().map(KindName::as_str),
            filter.version,
            filter.name.as_deref().map(like_pattern),
            command.name(),
            arguments.as_str(),
            dry_run,
            MAX_WORKERS,
            MAX_OPEN,
        )
        .fetch_all(&mut *unit)
        .await?;
        if i64::try_from(rows.len()).is_ok_and(|count| count > MAX_WORKERS) {
            return Ok(None);
        }
        let sent = rows.iter().filter(|row| row.command_id.is_some()).count();
        let change = Change::of(format!("worker.{}", command.name()), sent).after(&arguments);
        let change = match id {
            Some(id) => change.to(&id),
            None => change.filter(&filter),
        };
        self.audit(&mut unit, change).await?;
        unit.commit().await?;
        let commanded = rows.into_iter().map(|row| CommandedWorker {
            id: WorkerId::from_uuid(row.id),
            name: row.name,
            sent: row.command_id.zip(row.created_at),
        });
        let commanded: Vec<CommandedWorker> = commanded.collect();
        let hinted: Vec<WorkerId> =
            commanded.iter().filter(|worker| worker.sent.is_some()).map(|worker| worker.id).collect();
        self.hint_heartbeats(&hinted).await;
        Ok(Some(commanded))
    }

    /// The commands of a worker, newest first, at most 100. Commands are kept for a day.
    pub async fn worker_commands(&self, worker: WorkerId) -> Result<Vec<CommandRecord>, StoreError> {
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            r#"-- store.command.list
            SELECT id, command, arguments::text AS "arguments!", created_at, delivered_at, acknowledged_at, result::text AS result, error
            FROM jobqueue.worker_command WHERE worker_id = $1 ORDER BY id DESC LIMIT $2"#,
            worker.as_uuid(),
            SHOWN,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        rows.into_iter()
            .map(|row| {
                Ok(CommandRecord {
                    id: row.id,
                    command: row.command,
                    arguments: stored(row.id, row.arguments)?,
                    created_at: row.created_at,
                    delivered_at: row.delivered_at,
                    acknowledged_at: row.acknowledged_at,
                    result: row.result.map(|text| stored(row.id, text)).transpose()?,
                    error: row.error,
                })
            })
            .collect()
    }

    /// Stores a worker's answers to its commands. Answers that are stored already change nothing.
    pub async fn acknowledge_commands(
        &self,
        worker: WorkerId,
        answers: &[CommandAnswer],
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = answers.iter().map(|answer| answer.id).collect();
        // an empty text stands for null, which arrays of texts do not have
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let outcomes = answers.iter().map(|answer| answer.outcome.as_ref());
        let (results, errors): (Vec<String>, Vec<String>) = outcomes
            .map(|outcome| (text(outcome.ok().map(Json::as_str)), text(outcome.err().map(String::as_str))))
            .unzip();
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.command.acknowledge
            UPDATE jobqueue.worker_command c
            SET acknowledged_at = jobqueue.now(), delivered_at = coalesce(c.delivered_at, jobqueue.now()),
                result = nullif(a.result, '')::json, error = nullif(a.error, '')
            FROM unnest($2::bigint[], $3::text[], $4::text[]) AS a (id, result, error)
            WHERE c.id = a.id AND c.worker_id = $1 AND c.acknowledged_at IS NULL",
            worker.as_uuid(),
            &ids,
            &results,
            &errors,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Records that these commands were sent to their worker.
    pub(crate) async fn delivered(
        &self,
        worker: WorkerId,
        commands: &[SentCommand],
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = commands.iter().map(|command| command.id).collect();
        let mut unit = self.one().await?;
        sqlx::query!(
            "-- store.command.delivered
            UPDATE jobqueue.worker_command SET delivered_at = jobqueue.now()
            WHERE id = ANY ($2) AND worker_id = $1 AND delivered_at IS NULL",
            worker.as_uuid(),
            &ids,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }
}

impl SentCommand {
    /// Reads the array of `[id, command, arguments]` that a heartbeat returns; `None` if there are no commands.
    pub(crate) fn read(text: Option<&str>) -> Result<Vec<Self>, StoreError> {
        let Some(text) = text else { return Ok(vec![]) };
        let rows: Vec<(i64, String, &RawValue)> =
            serde_json::from_str(text).map_err(|error| corrupt(&"of a heartbeat", &error))?;
        Ok(rows
            .into_iter()
            .map(|(id, command, arguments)| Self { id, command, arguments: arguments.get().to_owned() })
            .collect())
    }
}

fn stored(id: i64, text: String) -> Result<Json, StoreError> {
    Json::from_stored(text).map_err(|error| corrupt(&id, &error))
}

fn corrupt(row: &dyn Display, error: &dyn Display) -> StoreError {
    StoreError::Corrupt {
        table: "worker_command",
        column: "arguments",
        row: row.to_string(),
        what: error.to_string(),
    }
}

/// The pattern of LIKE for a name with `*` and `?`.
fn like_pattern(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len());
    for character in glob.chars() {
        match character {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '\\' => pattern.extend(['\\', character]),
            other => pattern.push(other),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stars_and_question_marks_are_special_in_a_name() {
        assert_eq!(like_pattern(r"a*b?c%d_e\"), r"a%b_c\%d\_e\\");
    }

    #[test]
    fn commands_of_a_heartbeat_are_read() {
        assert_eq!(SentCommand::read(None).unwrap(), []);
        let read = SentCommand::read(Some(r#"[[7, "resize", {"slots": 2}]]"#)).unwrap();
        let expected = SentCommand { id: 7, command: "resize".into(), arguments: r#"{"slots": 2}"#.into() };
        assert_eq!(read, [expected]);
    }
}
