//! The options of the demo.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Port of the API on 127.0.0.1.
    #[arg(long, default_value_t = 8000, value_name = "PORT")]
    pub(crate) port: u16,

    /// An empty database to use instead of a private Postgres. Only this flag chooses it: the demo ignores
    /// the variable DATABASE_URL, which may name a production database, and every other variable of the
    /// services.
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Where the private Postgres keeps its data between runs. Default: $XDG_DATA_HOME/jobqueue-demo or
    /// ~/.local/share/jobqueue-demo; for root /var/tmp/jobqueue-demo, because Postgres refuses to run as root.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// A text whose paragraphs become the jobs. Default: the text of this software's licence.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Stop when the jobs are done instead of waiting for Ctrl-C.
    #[arg(long)]
    pub(crate) exit: bool,
}
