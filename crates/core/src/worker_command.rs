//! Commands of operators to workers. Owns which commands exist and which arguments each takes; carries out none.

use serde::{Deserialize, Serialize};

use crate::field::FieldError;
use crate::json::Json;
use crate::limits::MAX_SLOTS;
use crate::name::QueueName;

/// Maximum number of queues that one command may name in each of its lists.
pub const MAX_QUEUES: usize = 100;

/// What an operator asks of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlCommand {
    /// Answer, and do nothing else.
    Ping,
    /// Lease nothing more, let all running jobs finish, then end.
    Drain,
    /// Lease nothing until resumed.
    Pause,
    /// Lease again after a pause.
    Resume,
    /// Run at most so many jobs at the same time. Running jobs continue.
    Resize {
        /// The new number of slots, 1 to `MAX_SLOTS`.
        slots: u32,
    },
    /// Lease from other queues. Running jobs continue.
    Queues {
        /// Queues to lease from as well.
        subscribe: Vec<QueueName>,
        /// Queues to lease from no more.
        unsubscribe: Vec<QueueName>,
    },
    /// End like after SIGTERM: running jobs have the grace period to finish, then they are released.
    Shutdown,
}

/// A command that is not checked, as it was sent or stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandDraft {
    /// The name of the command.
    pub command: String,
    /// Its arguments.
    pub arguments: CommandArguments,
}

/// The arguments of any command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandArguments {
    /// Of `resize`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<i64>,
    /// Of `queues`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<QueueName>,
    /// Of `queues`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsubscribe: Vec<QueueName>,
}

impl ControlCommand {
    /// The names of all commands.
    pub const NAMES: [&str; 7] = ["ping", "drain", "pause", "resume", "resize", "queues", "shutdown"];

    /// Checks a command that was sent. Returns every error.
    pub fn check(draft: CommandDraft) -> Result<Self, Vec<FieldError>> {
        let CommandDraft { command, arguments } = draft;
        let mut errors = arguments.unused(&command);
        let checked = match command.as_str() {
            "ping" => Ok(Self::Ping),
            "drain" => Ok(Self::Drain),
            "pause" => Ok(Self::Pause),
            "resume" => Ok(Self::Resume),
            "shutdown" => Ok(Self::Shutdown),
            "resize" => arguments.resize(),
            "queues" => arguments.queues(),
            _ => {
                let message = format!("must be one of {}", Self::NAMES.join(", "));
                Err(FieldError::new("/command", "invalid", message))
            }
        };
        match checked {
            Ok(command) if errors.is_empty() => Ok(command),
            Ok(_) => Err(errors),
            Err(error) => {
                errors.push(error);
                Err(errors)
            }
        }
    }

    /// Reads a stored command. A newer version may have stored one that this version does not know: the error says so.
    pub fn from_stored(name: &str, arguments: &str) -> Result<Self, String> {
        let unknown = || format!("this worker does not know the command `{name}` with these arguments");
        let arguments = serde_json::from_str(arguments).map_err(|_| unknown())?;
        Self::check(CommandDraft { command: name.to_owned(), arguments }).map_err(|_| unknown())
    }

    /// The name, as it is sent and stored.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Drain => "drain",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Resize { .. } => "resize",
            Self::Queues { .. } => "queues",
            Self::Shutdown => "shutdown",
        }
    }

    /// The arguments, as they are sent and stored; an empty object if it takes none.
    pub fn arguments(&self) -> Json {
        let mut arguments = CommandArguments::default();
        match self {
            Self::Resize { slots } => arguments.slots = Some((*slots).into()),
            Self::Queues { subscribe, unsubscribe } => {
                arguments.subscribe.clone_from(subscribe);
                arguments.unsubscribe.clone_from(unsubscribe);
            }
            _ => {}
        }
        Json::of(&arguments).unwrap_or_default()
    }
}

impl CommandArguments {
    /// Errors for the arguments that the command does not take.
    fn unused(&self, command: &str) -> Vec<FieldError> {
        let given = [
            ("slots", self.slots.is_some(), "resize"),
            ("subscribe", !self.subscribe.is_empty(), "queues"),
            ("unsubscribe", !self.unsubscribe.is_empty(), "queues"),
        ];
        let unused = given.into_iter().filter(|(_, is_given, owner)| *is_given && *owner != command);
        unused
            .map(|(name, _, owner)| {
                FieldError::new(format!("/{name}"), "conflict", format!("belongs to the command {owner}"))
            })
            .collect()
    }

    fn resize(&self) -> Result<ControlCommand, FieldError> {
        let Some(slots) = self.slots else {
            return Err(FieldError::new("/slots", "required", "must be given"));
        };
        let usable = u32::try_from(slots).ok().filter(|slots| (1..=MAX_SLOTS).contains(slots));
        let slots = usable.ok_or_else(|| {
            FieldError::new("/slots", "out_of_range", format!("must be between 1 and {MAX_SLOTS}"))
        })?;
        Ok(ControlCommand::Resize { slots })
    }

    fn queues(self) -> Result<ControlCommand, FieldError> {
        let Self { subscribe, unsubscribe, .. } = self;
        if subscribe.is_empty() && unsubscribe.is_empty() {
            return Err(FieldError::new("/subscribe", "required", "name a queue here or in `unsubscribe`"));
        }
        for (pointer, list) in [("/subscribe", &subscribe), ("/unsubscribe", &unsubscribe)] {
            if list.len() > MAX_QUEUES {
                let message = format!("must have at most {MAX_QUEUES} entries");
                return Err(FieldError::new(pointer, "too_long", message));
            }
        }
        if subscribe.iter().any(|queue| unsubscribe.contains(queue)) {
            return Err(FieldError::new("/unsubscribe", "conflict", "must not name a queue of `subscribe`"));
        }
        Ok(ControlCommand::Queues { subscribe, unsubscribe })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(command: &str, arguments: &str) -> CommandDraft {
        CommandDraft { command: command.to_owned(), arguments: serde_json::from_str(arguments).unwrap() }
    }

    #[test]
    fn a_stored_command_is_the_command_that_was_sent() {
        for (name, arguments) in [
            ("ping", "{}"),
            ("drain", "{}"),
            ("pause", "{}"),
            ("resume", "{}"),
            ("shutdown", "{}"),
            ("resize", r#"{"slots":20}"#),
            ("queues", r#"{"subscribe":["a"],"unsubscribe":["b"]}"#),
            ("queues", r#"{"unsubscribe":["b"]}"#),
        ] {
            let command = ControlCommand::check(draft(name, arguments)).unwrap();
            assert_eq!((command.name(), command.arguments().as_str()), (name, arguments));
            assert_eq!(ControlCommand::from_stored(name, arguments), Ok(command));
            assert!(ControlCommand::NAMES.contains(&name));
        }
        assert!(ControlCommand::from_stored("explode", "{}").unwrap_err().contains("explode"));
        assert!(ControlCommand::from_stored("resize", "[]").is_err());
    }

    #[test]
    fn wrong_arguments_are_refused_all_at_once() {
        for (name, arguments, pointers) in [
            ("explode", "{}", &["/command"][..]),
            ("resize", "{}", &["/slots"]),
            ("resize", r#"{"slots":0}"#, &["/slots"]),
            ("resize", r#"{"slots":10001}"#, &["/slots"]),
            ("queues", "{}", &["/subscribe"]),
            ("queues", r#"{"subscribe":["a"],"unsubscribe":["a"]}"#, &["/unsubscribe"]),
            ("ping", r#"{"slots":1,"subscribe":["a"]}"#, &["/slots", "/subscribe"]),
            ("explode", r#"{"unsubscribe":["a"]}"#, &["/unsubscribe", "/command"]),
        ] {
            let errors = ControlCommand::check(draft(name, arguments)).unwrap_err();
            let found: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{name} {arguments}");
        }
    }
}
