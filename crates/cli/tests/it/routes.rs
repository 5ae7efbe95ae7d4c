//! `route`: from a file to jobs.

use serde_json::json;

use crate::service::Service;

const FILE: &str = r#"
owner = "shop"

[[routes]]
name = "mail"
kind = "mail.*"
queue = "mail"
timeout_seconds = 60
retry = { strategy = "exponential", max_seconds = 60 }

[[routes]]
name = "a-rest"
kind = "*"
tags = ["rest"]
"#;

#[tokio::test]
async fn a_file_is_applied_in_its_order_and_what_it_owns_is_pruned() {
    let service = Service::start().await;
    let file = service.home.file("routes.toml", FILE);
    let apply = ["route", "apply", "-f", file.as_str()];
    let with = |more: &[&'static str]| [&apply[..], more].concat();
    let planned = service.ok(&with(&["--dry-run"])).await;
    assert_eq!(planned, "route a-rest would be created\nroute mail would be created\n");
    assert_eq!(service.ok(&["route", "list", "-o", "name"]).await, "");
    assert_eq!(service.ok(&apply).await, "route a-rest created\nroute mail created\n");
    assert_eq!(service.ok(&apply).await, "route a-rest unchanged\nroute mail unchanged\n");
    assert_eq!(
        service.ok(&["route", "list", "-o", "name"]).await,
        "mail\na-rest\n",
        "in the order of the file"
    );

    let changed = FILE.replace("timeout_seconds = 60", "timeout_seconds = 90").replace("a-rest", "others");
    service.home.file("routes.toml", &changed);
    let planned = service.ok(&with(&["--dry-run", "--prune"])).await;
    assert!(planned.contains("timeout_seconds: 60.0 → 90"), "{planned}");
    assert!(
        planned.contains("a-rest would be deleted") && planned.contains("others would be created"),
        "{planned}"
    );
    service.ran(&with(&["--prune"])).await.fails(64, "--yes");
    service.ok(&with(&["--prune", "--yes"])).await;
    assert_eq!(service.ok(&["get", "routes", "-o", "name"]).await, "mail\nothers\n");
    let table = service.ok(&["route", "list", "--owner", "shop"]).await;
    assert!(table.contains("mail.*") && table.contains("90"), "{table}");
    service.ran(&with(&["--owner", "other"])).await.fails(4, "belongs to shop");
}

#[tokio::test]
async fn a_route_is_shown_tested_used_and_deleted() {
    let service = Service::start().await;
    let file = service.home.file(
        "routes.json",
        r#"{"routes": [{"name": "mail", "position": 7, "kind": "mail.*", "queue": "mail", "priority": 3}]}"#,
    );
    service.ok(&["route", "apply", "-f", &file]).await;
    assert_eq!(service.json(&["route", "get", "mail"]).await["position"], 7);
    let tested = service.json(&["route", "test", "mail.send", "--priority", "9"]).await;
    assert_eq!((&tested["route"], &tested["filled"]), (&json!("mail"), &json!(["queue"])));
    assert!(service.ok(&["route", "test", "other"]).await.contains("route"));
    let job = service.json(&["submit", "mail.send"]).await;
    assert_eq!((&job["queue"], &job["priority"]), (&json!("mail"), &json!(3)));
    assert!(service.ok(&["describe", "route", "mail"]).await.contains("mail.*"));
    service.ran(&["route", "get", "missing"]).await.fails(3, "route missing");
    service.ran(&["route", "test", "a b"]).await.fails(4, "kind");
    assert_eq!(service.ok(&["route", "delete", "mail", "--yes"]).await, "route mail deleted\n");
    service.ran(&["route", "delete", "mail", "--yes"]).await.fails(3, "no such route");
}

#[tokio::test]
async fn the_secret_of_a_webhook_is_set_and_never_printed() {
    let service = Service::start().await;
    let text = |secret: &str, url: &str| {
        format!(
            "[[routes]]\nname = \"x\"\nkind = \"*\"\non_end = {{ url = \"{url}\", secret = \"whsec_{secret}\" }}"
        )
    };
    let (one, two) = ("A".repeat(44), "B".repeat(44));
    let file = service.home.file("routes.toml", &text(&one, "https://a"));
    let apply = ["route", "apply", "-f", file.as_str()];
    assert_eq!(service.ok(&apply).await, "route x created\n");
    assert_eq!(service.ok(&apply).await, "route x unchanged, with the secret of the file\n");
    service.home.file("routes.toml", &text(&two, "https://b"));
    let changed = service.ok(&apply).await;
    assert!(changed.contains("https://b") && !changed.contains("BBBB"), "{changed}");
    let shown = service.ok(&["route", "get", "x", "-o", "json"]).await;
    assert!(shown.contains("secret_id") && !shown.contains("whsec"), "{shown}");
}

#[tokio::test]
async fn an_invalid_file_is_refused() {
    let service = Service::start().await;
    for (name, text, code, words) in [
        ("a.toml", "[[routes]", 64, "line 1"),
        ("b.toml", "[[routes]]\nkind = \"k\"", 64, "route 1 of the file has no name"),
        ("c.toml", "[[routes]]\nname = \"x\"\n[[routes]]\nname = \"x\"", 64, "twice"),
        ("d.toml", "[[routes]]\nname = \"x\"\nowner = \"a\"", 64, "once"),
        ("e.toml", "[[routes]]\nname = \"x\"\nkind = \"a b\"", 4, "route x"),
        ("f.toml", "[[routes]]\nname = \"x\"\nkind = \"a\"\nque = \"b\"", 4, "que"),
    ] {
        let file = service.home.file(name, text);
        service.ran(&["route", "apply", "-f", &file]).await.fails(code, words);
    }
}
