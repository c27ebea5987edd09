//! `glassdock-lesson`: lists, checks, plays and teaches lessons. People call it as `glassdock lesson …`.

#![expect(clippy::print_stderr, reason = "a command line's work is to print")]

mod command;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use command::check::{self, Check};
use command::modes::{self, Learn, Play, Record, Replay};
use command::{fail, list, say, say_whole, status};
use glassdock_lesson::tools::Tools;
use glassdock_lesson::{doctor, scenario, template};

/// The lessons of the book: list them, learn them, show them, and check that each still works.
#[derive(Debug, Parser)]
#[command(name = "glassdock lesson", version, arg_required_else_help = true)]
struct Line {
    /// The folder of the scenario files.
    #[arg(long, value_name = "DIR", global = true)]
    scenarios: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the lessons.
    List {
        /// As JSON: ids, chapters, needs and minutes.
        #[arg(long)]
        json: bool,
    },
    /// Learn a lesson: you type in a shell, and are told what is solved.
    #[command(after_help = "\
In the shell: task says again what to do, guess N answers the question, hint gives a hint,
solution shows the command, exit leaves.

Exit status: 0 the lesson is solved; 1 it was left before, or failed; 2 wrong usage; 3 a scenario
file is wrong; 4 this machine lacks what the lesson needs; 130 interrupted.

Examples:
  glassdock lesson learn 05-ps
  glassdock lesson learn 05-stop-start --lang zh")]
    Learn(Learn),
    /// Play a lesson: each key runs the next command.
    #[command(after_help = "\
Exit status: as of learn.

Examples:
  glassdock lesson play 03-run
  glassdock lesson play 05-top --narrate")]
    Play(Play),
    /// Play a lesson for a class: with the trace beside it, and the teacher's notes.
    #[command(after_help = "\
The trace stands beside the commands where the screen has 100 columns, else under them.
Exit status: as of learn.

Examples:
  glassdock lesson demo 05-top --lang zh")]
    Demo(Play),
    /// Record a lesson, for replay on machines that can't run it.
    #[command(after_help = "\
Examples:
  glassdock lesson record 05-top --output 05-top.jsonl")]
    Record(Record),
    /// Replay a recording: no engine and no privileges are needed.
    #[command(after_help = "\
Examples:
  glassdock lesson replay 05-top.jsonl
  glassdock lesson replay 05-top.jsonl --auto --speed 2 --demo")]
    Replay(Replay),
    /// Run lessons without a student, and check them.
    #[command(after_help = "\
Exit status: 0 all that ran passed; 1 a lesson failed; 2 wrong usage; 3 a scenario file is
wrong; 4 this machine lacks what every lesson needs; 130 interrupted.

Examples:
  glassdock lesson check              # all
  glassdock lesson check 3            # those of chapter 3
  glassdock lesson check 03-pull")]
    Check(Check),
    /// Say what this machine has, and what it lacks for the lessons.
    Doctor {
        /// Install what is missing, where a package brings it.
        #[arg(long)]
        install: bool,
    },
    /// Write the beginning of a new scenario file.
    New {
        /// The lesson's id, such as 03-tags; the number is the chapter's.
        id: String,
    },
    /// Print the JSON Schema of scenario files, for editors.
    Schema,
}

fn main() -> ExitCode {
    let Line { scenarios, command } = Line::parse();
    match command {
        Command::List { json } => list::list(scenarios, json),
        Command::Learn(learn) => within(modes::learn(scenarios, learn)),
        Command::Play(play) => within(modes::play(scenarios, play, false)),
        Command::Demo(play) => within(modes::play(scenarios, play, true)),
        Command::Record(record) => within(modes::record(scenarios, record)),
        Command::Replay(replay) => within(modes::replay(replay)),
        Command::Check(check) => within(check::checked(scenarios, check)),
        Command::Doctor { install } => examine(scenarios, install),
        Command::New { id } => new(scenarios, &id),
        Command::Schema => {
            say_whole(&scenario::schema_text());
            ExitCode::SUCCESS
        }
    }
}

/// Does asynchronous work to its end.
fn within(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => fail(format!("cannot start an asynchronous runtime: {error}"), status::FAILED),
    }
}

fn examine(named: Option<PathBuf>, install: bool) -> ExitCode {
    if install {
        match doctor::install() {
            Ok(words) => say!("{words}"),
            Err(words) => return fail(words, status::FAILED),
        }
    }
    let tools = Tools::find(named);
    let (text, healthy) = doctor::examine(tools.as_ref());
    say_whole(&text);
    if healthy { ExitCode::SUCCESS } else { ExitCode::from(status::SKIPPED) }
}

fn new(named: Option<PathBuf>, id: &str) -> ExitCode {
    let folder = match Tools::scenarios(named) {
        Ok(folder) => folder,
        Err(error) => return fail(error, status::AUTHOR),
    };
    match template::write(&folder, id) {
        Ok(path) => {
            say!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error, status::AUTHOR),
    }
}
