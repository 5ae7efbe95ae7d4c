//! What only a terminal shows: the question before a change, progress and colours. `script` runs the command on a terminal of its own.

use std::process::Stdio;

use tokio::task::spawn_blocking;

use crate::service::{KEY, Service, command};

/// What a command prints on a terminal, and its exit code. `typed` is what the user types.
async fn on_a_terminal(
    service: &Service,
    args: &[&str],
    variables: &[(&str, &str)],
    typed: &str,
) -> (i32, String) {
    let quoted = args.iter().map(|arg| format!("'{arg}'")).collect::<Vec<_>>().join(" ");
    let line = format!("{} {quoted}", env!("CARGO_BIN_EXE_jobqueue"));
    let url = format!("http://{}", service.address);
    let own = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", KEY), ("TERM", "xterm")];
    let mut script = std::process::Command::new("/usr/bin/script");
    let copied: Vec<(String, String)> = command(&service.home, &[], &[&own[..], variables].concat())
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
        .collect();
    script.args(["-qec", &line, "/dev/null"]).env_clear().env("SHELL", "/bin/sh").envs(copied);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let typed = typed.to_owned();
    spawn_blocking(move || {
        use std::io::Write as _;
        let mut child = script.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(typed.as_bytes()).unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut output, &mut text).unwrap();
        // `script` reads its input until the command has ended
        drop(input);
        (child.wait().unwrap().code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_change_by_selector_asks_first() {
    let service = Service::start().await;
    for _ in 0..2 {
        service.submit(&["echo", "{}", "--queue", "asked"]).await;
    }
    let cancel = ["cancel", "--queue", "asked"];
    for typed in ["n\n", "\n", "nonsense\n"] {
        let (code, text) = on_a_terminal(&service, &cancel, &[], typed).await;
        assert_eq!(code, 64, "{text}");
        assert!(text.contains("Cancel 2 jobs? [y/N]") && text.contains("nothing was changed"), "{text}");
    }
    assert_eq!(service.ok(&["count", "--status", "queued"]).await.trim(), "2");
    let (code, text) = on_a_terminal(&service, &cancel, &[], "y\n").await;
    assert!(code == 0 && text.contains("2 jobs changed, 0 refused"), "{code} {text}");
    assert_eq!(service.ok(&["count", "--status", "cancelled"]).await.trim(), "2");
}

#[tokio::test]
async fn progress_and_colours_are_for_a_terminal() {
    let service = Service::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(service.submit(&["echo", "{}"]).await);
    }
    let cancel: Vec<&str> = ["cancel"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let (code, text) = on_a_terminal(&service, &cancel, &[], "").await;
    assert!(code == 0 && text.contains("/3") && text.contains("cancel "), "a bar: {text:?}");
    let (_, coloured) = on_a_terminal(&service, &["get", "jobs"], &[], "").await;
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let (_, plain) = on_a_terminal(&service, &["get", "jobs"], &variables, "").await;
        assert!(!plain.contains("\u{1b}[") && plain.contains("cancelled"), "{variables:?}: {plain:?}");
    }
    let piped = service.ran(&["get", "jobs"]).await;
    assert!(!piped.stdout.contains('\u{1b}') && piped.stderr.is_empty(), "{piped:?}");
    let piped = service.ran(&cancel).await;
    assert!(!piped.stderr.contains("/3"), "{piped:?}");
}
