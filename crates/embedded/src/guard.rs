//! The guard: a shell process that ends the server if this process ends without stopping it.
//!
//! The guard reads from a pipe. When this process ends, even by `kill -9`, the pipe is closed; the guard then
//! ends the server process whose id it read last, and removes a temporary directory. It does nothing while
//! this process runs.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Lines on stdin: a process id to watch, an empty line for none, `release` to end the guard.
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
    /// Starts the guard without a process to watch. A server whose data is kept is stopped cleanly (INT); a
    /// temporary one is stopped at once (QUIT) and its directory is removed.
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

    /// From now on the guard ends this process if ours ends. Call it directly after the spawn.
    pub(crate) fn watch(&mut self, pid: u32) -> io::Result<()> {
        self.write_line(&format!("{pid}\n"))
    }

    /// The server has ended: the guard watches nothing, because the process id may be reused.
    pub(crate) fn watch_nothing(&mut self) -> io::Result<()> {
        self.write_line("\n")
    }

    /// Ends the guard; it then does nothing else.
    pub(crate) fn release(&mut self) {
        if self.write_line("release\n").is_ok() {
            self.pipe = None;
            // the guard only has to exit; a failure here leaves at most a zombie until this process ends
            let _ = self.shell.wait();
        }
    }

    fn write_line(&mut self, line: &str) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(line.as_bytes()))
    }
}
