//! The file that binds kinds to the `command` and `http` handlers. Owns its format. An invalid file is
//! rejected as a whole, with a sentence that says where and what to change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jobqueue_runtime::ConfigError;
use serde::Deserialize;

use crate::command::{CommandConfig, CommandHandler, Processes};
use crate::handler::Handler;
use crate::http::{HttpConfig, HttpHandler};

/// A kind and its handler.
pub(crate) type Binding = (String, Arc<dyn Handler>);

/// The whole file.
///
/// ```toml
/// [handlers."report.build"]
/// type = "command"
/// argv = ["/usr/bin/wc", "-c"]
/// timeout_seconds = 60
///
/// [handlers."hook.deliver"]
/// type = "http"
/// url = "https://example.org/hook"
/// secret_env = "HOOK_SECRET"
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The handler of each kind; `*` is every kind without its own handler.
    handlers: BTreeMap<String, HandlerConfig>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum HandlerConfig {
    Command(CommandConfig),
    Http(HttpConfig),
}

impl HandlerConfig {
    fn build(self, processes: &Processes) -> Result<Arc<dyn Handler>, String> {
        Ok(match self {
            Self::Command(config) => Arc::new(CommandHandler::new(config, processes.clone())?),
            Self::Http(config) => Arc::new(HttpHandler::new(config)?),
        })
    }
}

impl Config {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let place = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("WORKER_CONFIG {place} cannot be read: {error}")))?;
        Self::parse(&text).map_err(|error| ConfigError(format!("WORKER_CONFIG {place}: {error}")))
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError(error.to_string().trim_end().to_owned()))
    }

    /// Builds the handlers; reads the environment variables that they name. `processes` owns the programs
    /// that they start.
    pub(crate) fn handlers(self, processes: &Processes) -> Result<Vec<Binding>, ConfigError> {
        let build = |(kind, config): (String, HandlerConfig)| {
            let handler = config
                .build(processes)
                .map_err(|reason| ConfigError(format!("handlers.\"{kind}\": {reason}")))?;
            Ok((kind, handler))
        };
        self.handlers.into_iter().map(build).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let handlers = Config::parse(text).and_then(|config| config.handlers(&Processes::new()));
        handlers.err().unwrap_or_else(|| panic!("passed: {text}")).0
    }

    #[tokio::test]
    async fn both_types_are_read() {
        let text = r#"
            [handlers."report.build"]
            type = "command"
            argv = ["/usr/bin/wc", "-c"]
            timeout_seconds = 60
            env = { LANG = "C" }
            max_output_bytes = 1000
            exit_codes = { "75" = "retry", "65" = "discard", "80" = "snooze:30" }

            [handlers."hook.deliver"]
            type = "http"
            url = "https://example.org/hook"
            timeout_seconds = 2.5
            max_response_bytes = 1048576
            allow = ["127.0.0.1:9999"]
            client_errors = "retry"
        "#;
        let handlers = Config::parse(text).and_then(|config| config.handlers(&Processes::new())).unwrap();
        let kinds: Vec<_> = handlers.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["hook.deliver", "report.build"]);
    }

    #[tokio::test]
    async fn the_example_of_the_documentation_is_valid_and_names_every_key() {
        let page = include_str!("../../../docs/handlers.md");
        let (_, block) = page.split_once("```toml\n").unwrap();
        let (example, _) = block.split_once("```").unwrap();
        let handlers = Config::parse(example).and_then(|config| config.handlers(&Processes::new())).unwrap();
        assert_eq!(handlers.len(), 2);
        // serde lists the known keys when it rejects an unknown one
        for kind in ["command\"\nargv = []", "http\"\nurl = \"\""] {
            let sentence = refused(&format!("[handlers.x]\ntype = \"{kind}\nno_such_key = 1"));
            let (_, keys) = sentence.split_once("expected one of").unwrap();
            for key in keys.split('`').skip(1).step_by(2) {
                assert!(page.contains(&format!("| `{key}` |")), "{key} is not documented");
            }
        }
    }

    #[test]
    fn invalid_files_are_rejected_with_the_place() {
        let command = |rest: &str| format!("[handlers.x]\ntype = \"command\"\n{rest}");
        let http = |rest: &str| format!("[handlers.x]\ntype = \"http\"\n{rest}");
        for (text, named) in [
            ("[handlers.x]\ntype = \"shell\"".to_owned(), "shell"),
            ("[handlers.x]\nargv = [\"true\"]".to_owned(), "type"),
            ("[handler.x]\ntype = \"http\"".to_owned(), "handler"),
            (command("argv = []"), "argv"),
            (command("argv = [\"true\"]"), "absolute"),
            (command("argv = [\"/bin/true\"]\nargs = []"), "args"),
            (command("argv = [\"/bin/true\"]\ntimeout_seconds = 0"), "timeout_seconds"),
            (command("argv = [\"/bin/true\"]\ntimeout_seconds = 604801"), "604800"),
            (http("url = \"https://example.org/\"\ntimeout_seconds = 1e-7"), "0.001"),
            (command("argv = [\"/bin/true\"]\nexit_codes = { \"1\" = \"snooze:604801\" }"), "604800"),
            (command("argv = [\"/bin/true\"]\nexit_codes = { \"256\" = \"retry\" }"), "256"),
            (command("argv = [\"/bin/true\"]\nexit_codes = { \"1\" = \"explode\" }"), "explode"),
            (command("argv = [\"/bin/true\"]\nexit_codes = { \"1\" = \"snooze:-1\" }"), "snooze"),
            (command("argv = [\"/bin/true\"]\nenv = { \"A=B\" = \"1\" }"), "A=B"),
            (http("url = \"ftp://example.org\""), "http"),
            (http("url = \"/hook\""), "url"),
            (http("url = \"http://127.0.0.1/\""), "127.0.0.1"),
            (http("url = \"http://0x7f.1/\""), "127.0.0.1"),
            (http("url = \"https://u:p@example.org/\""), "password"),
            (
                http("url = \"https://example.org/\"\nsecret_env = \"JOBQUEUE_TEST_UNSET\""),
                "JOBQUEUE_TEST_UNSET",
            ),
            (http("url = \"https://example.org/\"\nclient_errors = \"ignore\""), "ignore"),
        ] {
            let sentence = refused(&text);
            assert!(sentence.contains(named), "{text}\n→ {sentence}");
        }
    }
}
