//! The guard: a small shell that outlives us just long enough to end the server if we die without a goodbye.
//!
//! It holds the reading end of a pipe. Whatever ends this process, `kill -9` included, closes the writing end; the
//! guard then ends the process it was last told of and removes a throw-away directory. It must never act while we live.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Lines on stdin: a process id to watch, an empty line for none, `release` for a goodbye.
///
/// $1 is the signal that ends the server, $2 a directory to remove or nothing. It waits up to 10 s for the end.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pid=
while IFS= read -r line; do
  case $line in
    release) exit 0 ;;
    *) pid=$line ;;
  esac
done
if [ -n "$pid" ]; then
  kill "-$1" "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
    if [ -d "/proc/$pid" ] && [ ! -e "/proc/$pid/exe" ]; then break; fi
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -KILL "$pid" 2>/dev/null
fi
if [ -n "$2" ]; then
  for _ in 1 2 3 4 5; do
    rm -rf -- "$2" 2>/dev/null
    [ -e "$2" ] || break
    sleep 0.2
  done
fi
"#;

/// The guard of one server; ends with [`release`](Self::release).
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts the guard, watching nothing yet. A kept server gets a clean end (INT), a throw-away one a quick end
    /// (QUIT) and its directory removed.
    pub(crate) fn start(home: &Path, keep: bool) -> io::Result<Self> {
        let (signal, remove) = if keep { ("INT", Path::new("")) } else { ("QUIT", home) };
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "jobqueue-postgres-guard", signal])
            .arg(remove)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// From now on this process is ended if we die. Call it right after the spawn.
    pub(crate) fn watch(&mut self, pid: u32) -> io::Result<()> {
        self.tell(&format!("{pid}\n"))
    }

    /// Nothing runs any more; its process id may soon belong to a stranger.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        self.tell("\n")
    }

    /// A goodbye: the guard ends and touches nothing.
    pub(crate) fn release(&mut self) {
        if self.tell("release\n").is_ok() {
            self.pipe = None;
            // It has nothing left to do but to exit; a failure here leaves at most a zombie until we end.
            let _ = self.shell.wait();
        }
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(line.as_bytes()))
    }
}
