//! The check of the keys in memory, and the note of their use, when the database does not answer or refuses.

use jobqueue_testkit::eventually;
use serde_json::{Value, json};

use crate::bench::Api;
use crate::client::HANG;

async fn status(api: &Api, key: &str) -> u16 {
    api.raw("GET", "/v1/jobs", &[format!("Authorization: Bearer {key}")], b"").await.status
}

#[tokio::test]
async fn a_check_that_hangs_keeps_neither_the_keys_nor_the_next_check_waiting() {
    let api = Api::start().await;
    let (id, key) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    assert_eq!(status(&api, &key).await, 200);
    // another session revokes the key, and no check gets an answer until it commits
    let revocation = api
        .db
        .hold(&format!(
            "LOCK TABLE jobqueue.api_key_version IN ACCESS EXCLUSIVE MODE;
             UPDATE jobqueue.api_key SET revoked_at = now() WHERE id = '{id}'"
        ))
        .await;
    eventually(HANG, "a check begins while another one hangs", async || {
        let waiting = "wait_event_type = 'Lock' AND query LIKE '%store.api_keys.newest%'";
        Some(api.db.sessions(waiting).await).filter(|checks| *checks >= 2).ok_or("fewer than two")
    })
    .await;
    assert_eq!(status(&api, &key).await, 200, "the last known keys hold");
    revocation.commit().await.unwrap();
    eventually(HANG, "the revocation is found", async || match status(&api, &key).await {
        401 => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn the_use_of_a_key_that_could_not_be_written_is_written_later() {
    let api = Api::start().await;
    let (id, key) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    // a sequence keeps its value when the transaction fails
    api.db
        .execute(
            "CREATE SEQUENCE public.refusals;
             CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM nextval(''public.refusals''); RAISE EXCEPTION ''disk full''; END';
             CREATE TRIGGER refuse BEFORE UPDATE OF last_used_at ON jobqueue.api_key FOR EACH ROW EXECUTE FUNCTION public.refuse()",
        )
        .await;
    assert_eq!(status(&api, &key).await, 200);
    eventually(HANG, "two writes are refused", async || {
        let refused = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.refusals";
        Some(api.db.number(refused).await).filter(|refused| *refused >= 2).ok_or("fewer than two")
    })
    .await;
    let used = async || api.get(&format!("/v1/api-keys/{id}")).await.expect(200)["last_used_at"].clone();
    assert_eq!(used().await, Value::Null);
    api.db.execute("DROP TRIGGER refuse ON jobqueue.api_key").await;
    // without another request with the key
    eventually(HANG, "the use is written", async || {
        Some(used().await).filter(Value::is_string).ok_or("not written")
    })
    .await;
}
